/** What each frame of a message costs of the credit beside its bytes, so that empty messages are not free. */
export const FRAME_COST = 32;
