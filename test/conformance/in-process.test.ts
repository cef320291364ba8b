import { testConformanceInProcess } from "./transports.js";

testConformanceInProcess();
