/** Placeholder until the documentation is written: the schemas of the routes. */
export const createExecutionSchema = {};
export const getExecutionSchema = {};
export const cancelExecutionSchema = {};
export const streamEventsSchema = {};
export const listImagesSchema = {};
export const healthSchema = {};
export const readySchema = {};
export const metricsSchema = {};
