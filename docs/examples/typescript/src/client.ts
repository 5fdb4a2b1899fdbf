// A client of one server with one token. Each response has the type of its operation.
import { setTimeout as pause } from 'node:timers/promises';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { type GraphQLFormattedError, print } from 'graphql';
import { GraphQLClient } from 'graphql-request';
import { CloseCode, createClient, type Client as Socket } from 'graphql-ws';
import WebSocket from 'ws';
import type { UserErrorCode } from './generated/graphql.js';

/** An error in a mutation's input. */
export interface UserError {
  code: UserErrorCode;
  message: string;
  path: string[];
}

/** A mutation was refused because of its input. */
export class Refused extends Error {
  constructor(readonly errors: readonly UserError[]) {
    super(errors.map((error) => `${error.code} at ${error.path.join('.')}: ${error.message}`).join('; '));
    this.name = 'Refused';
  }
}

/** A subscription failed. Each error has a code in `extensions.code`. */
export class Unanswered extends Error {
  constructor(readonly errors: readonly GraphQLFormattedError[]) {
    super(errors.map((error) => `${String(error.extensions?.['code'])}: ${error.message}`).join('; '));
    this.name = 'Unanswered';
  }
}

type Variables = Record<string, unknown>;

/** The pauses before further tries to connect: doubled each time, up to the longest. */
const RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

export class Client {
  readonly #http: GraphQLClient;
  readonly #socket: Socket;

  /**
   * `server` is a URL such as `http://127.0.0.1:8080`. `connectedAgain` is called when the socket is connected again
   * after a break. No subscription reports what happened in between, so query it then.
   */
  constructor(server: string, token: string, connectedAgain: () => void = () => undefined) {
    const headers = { authorization: `Bearer ${token}` };
    const endpoint = new URL('/graphql', server);
    this.#http = new GraphQLClient(endpoint.href, { headers });
    this.#socket = createClient({
      url: `${endpoint.href.replace(/^http/, 'ws')}/ws`,
      connectionParams: headers,
      // Browsers have a WebSocket, and so has Node.js from 22 on.
      webSocketImpl: WebSocket,
      retryAttempts: Infinity,
      retryWait: (tries) => pause(Math.min(RETRY_MS * 2 ** tries, LONGEST_RETRY_MS)),
      // By default graphql-ws gives up if it cannot connect, for example while a server starts. It need not retry with a
      // refused token (4403), and it never retries after close codes that mean an error of the client.
      shouldRetry: (event) => !(isClose(event) && event.code === CloseCode.Forbidden),
      on: { connected: (_socket, _payload, again) => again && connectedAgain() },
    });
  }

  /** Runs an operation. Errors that are not about the input are thrown as a `ClientError` of graphql-request. */
  async ask<Answer, V extends Variables>(document: TypedDocumentNode<Answer, V>, variables: V): Promise<Answer> {
    return this.#http.request<Answer>({ document, variables });
  }

  /**
   * The results of a subscription, from now on. It continues after a broken connection or a restart of the server,
   * and ends when the loop that reads it ends.
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

/** graphql-ws can also throw a list of errors, or the close event of the socket. */
function asError(thrown: unknown): Error {
  if (Array.isArray(thrown)) {
    return new Unanswered(thrown as GraphQLFormattedError[]);
  }
  if (isClose(thrown)) {
    return new Error(`the socket was closed with ${thrown.code}: ${thrown.reason}`);
  }
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Returns a mutation's payload, or throws if its input was wrong. */
export function accepted<Payload extends { userErrors: UserError[] }>(payload: Payload): Payload {
  if (payload.userErrors.length > 0) {
    throw new Refused(payload.userErrors);
  }
  return payload;
}
