/**
 * Preloaded into the real service (`node --import`): a request that asks for it meets a fault in its handler.
 *
 * Routes are taken from Fastify as they are registered, and their list is left in the file that `TEST_ROUTES_FILE`
 * names, a line of JSON each.
 */
import { subscribe } from 'node:diagnostics_channel';
import { appendFileSync } from 'node:fs';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

/** The header by which a request asks for a fault. */
export const FAULT_HEADER = 'x-test-fault';

/** What the fault says: it has to be in the log, and in no answer. */
export const FAULT_MESSAGE = 'a fault the test put into a handler';

export const FAULTS = ['rejection', 'exception', 'two exceptions', 'throw'] as const;
export type Fault = (typeof FAULTS)[number];

/** An answer has it when a handler was reached. */
export const HANDLED_HEADER = 'x-test-handled';

export interface Route {
  readonly method: string;
  readonly url: string;
}

const fault = () => new Error(FAULT_MESSAGE);
const raise = () => {
  throw fault();
};

const routesFile = process.env['TEST_ROUTES_FILE'];

subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: FastifyInstance };
  fastify.addHook('onRoute', (route) => {
    for (const method of [route.method].flat()) {
      if (routesFile !== undefined) appendFileSync(routesFile, `${JSON.stringify({ method, url: route.url })}\n`);
    }
    const { handler } = route;
    route.handler = function (request, reply) {
      if (request.headers[FAULT_HEADER] === 'throw') raise();
      return handler.call(this, request, reply);
    };
  });
});

subscribe('tracing:fastify.request.handler:start', (message) => {
  const { request, reply } = message as { request: FastifyRequest; reply: FastifyReply };
  reply.header(HANDLED_HEADER, 'yes');
  switch (request.headers[FAULT_HEADER] as Fault | undefined) {
    case 'rejection':
      void Promise.reject(fault());
      break;
    case 'exception':
      setImmediate(raise);
      break;
    case 'two exceptions':
      // The second while the first has the process closing.
      setImmediate(raise);
      setTimeout(raise, 5);
      break;
    case 'throw':
    case undefined:
  }
});
