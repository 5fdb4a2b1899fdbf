// A client of one server with one token. What comes back has the type of what was asked.
import { setTimeout as pause } from 'node:timers/promises';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { type GraphQLFormattedError, print } from 'graphql';
import { GraphQLClient } from 'graphql-request';
import { CloseCode, createClient, type Client as Socket } from 'graphql-ws';
import WebSocket from 'ws';
import type { UserErrorCode } from './generated/graphql.js';

/** What was wrong with a mutation's input. */
export interface UserError {
  code: UserErrorCode;
  message: string;
  path: string[];
}

/** A mutation that was refused for its input. */
export class Refused extends Error {
  constructor(readonly errors: readonly UserError[]) {
    super(errors.map((error) => `${error.code} at ${error.path.join('.')}: ${error.message}`).join('; '));
    this.name = 'Refused';
  }
}

/** A subscription that was not answered. Each error says in `extensions.code` why. */
export class Unanswered extends Error {
  constructor(readonly errors: readonly GraphQLFormattedError[]) {
    super(errors.map((error) => `${String(error.extensions?.['code'])}: ${error.message}`).join('; '));
    this.name = 'Unanswered';
  }
}

type Variables = Record<string, unknown>;

/** How long to wait before the second and each further try to connect: the doubled, up to the longest. */
const RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

export class Client {
  readonly #http: GraphQLClient;
  readonly #socket: Socket;

  /**
   * `server` as in `http://127.0.0.1:8080`. `connectedAgain` is called when the socket is back after a break: what
   * happened meanwhile no subscription tells, so it is to be asked for.
   */
  constructor(server: string, token: string, connectedAgain: () => void = () => undefined) {
    const headers = { authorization: `Bearer ${token}` };
    const endpoint = new URL('/graphql', server);
    this.#http = new GraphQLClient(endpoint.href, { headers });
    this.#socket = createClient({
      url: `${endpoint.href.replace(/^http/, 'ws')}/ws`,
      connectionParams: headers,
      // Browsers have their own, and so has Node.js from 22 on.
      webSocketImpl: WebSocket,
      retryAttempts: Infinity,
      retryWait: (tries) => pause(Math.min(RETRY_MS * 2 ** tries, LONGEST_RETRY_MS)),
      // Left to itself graphql-ws gives up when it cannot connect, as while a server starts. A token that is refused
      // (4403) stays so; close codes that mean a mistake of ours are never tried again.
      shouldRetry: (event) => !(isClose(event) && event.code === CloseCode.Forbidden),
      on: { connected: (_socket, _payload, again) => again && connectedAgain() },
    });
  }

  /** Runs an operation. Errors that are not about input come as a `ClientError` of graphql-request. */
  async ask<Answer, V extends Variables>(document: TypedDocumentNode<Answer, V>, variables: V): Promise<Answer> {
    return this.#http.request<Answer>({ document, variables });
  }

  /**
   * What a subscription tells, from now on. Over a break of the connection, or a restart of the server, it goes on;
   * it ends when the loop that reads it does.
   */
  async *watch<Answer, V extends Variables>(document: TypedDocumentNode<Answer, V>, variables: V): AsyncGenerator<Answer> {
    const results = this.#socket.iterate<Answer>({ query: print(document), variables });
    try {
      for await (const { data, errors } of results) {
        if (errors || !data) {
          throw new Unanswered(errors ?? []);
        }
        yield data;
      }
    } catch (thrown) {
      throw asError(thrown);
    }
  }

  /** Ends every subscription. */
  async close(): Promise<void> {
    await this.#socket.dispose();
  }
}

function isClose(event: unknown): event is { code: number; reason: string } {
  return typeof event === 'object' && event !== null && 'code' in event && 'reason' in event;
}

/** What graphql-ws throws can also be a list of errors, or how the socket was closed. */
function asError(thrown: unknown): Error {
  if (Array.isArray(thrown)) {
    return new Unanswered(thrown as GraphQLFormattedError[]);
  }
  if (isClose(thrown)) {
    return new Error(`the socket was closed with ${thrown.code}: ${thrown.reason}`);
  }
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** A mutation's payload, if its input was right. */
export function accepted<Payload extends { userErrors: UserError[] }>(payload: Payload): Payload {
  if (payload.userErrors.length > 0) {
    throw new Refused(payload.userErrors);
  }
  return payload;
}
