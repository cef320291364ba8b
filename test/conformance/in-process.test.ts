import { judgedHere } from "./ways.js";

judgedHere();
