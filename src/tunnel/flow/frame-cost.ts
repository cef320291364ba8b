/** The credit that each MESSAGE frame costs beside its bytes, so that empty messages are not free. */
export const FRAME_COST = 32;
