import { type Case, casesOf } from "./case.js";
import { appAvailabilityCases, appInvocationCases } from "./service/apps.js";
import { serviceCalls } from "./service/calls.js";
import { forwardedHeaderCases, prefixedHeaderCases } from "./service/headers.js";
import { invocationRefusalCases } from "./service/refusals.js";
import { methodCases, requestTargetCases } from "./service/requests.js";
import { responseCases } from "./service/responses.js";

/** The cases of service invocation. */
export const serviceCases: readonly Case[] = casesOf("service", serviceCalls, [
  methodCases,
  requestTargetCases,
  forwardedHeaderCases,
  prefixedHeaderCases,
  responseCases,
  appInvocationCases,
  appAvailabilityCases,
  invocationRefusalCases,
]);
