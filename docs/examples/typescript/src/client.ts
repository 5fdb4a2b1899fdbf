// A client of one server with one token. What comes back has the type of what was asked.
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { GraphQLClient } from 'graphql-request';
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

type Variables = Record<string, unknown>;

export class Client {
  readonly #http: GraphQLClient;

  /** `server` as in `http://127.0.0.1:8080`. */
  constructor(server: string, token: string) {
    this.#http = new GraphQLClient(new URL('/graphql', server).href, {
      headers: { authorization: `Bearer ${token}` },
    });
  }

  /** Runs an operation. Errors that are not about input come as a `ClientError` of graphql-request. */
  async ask<Answer, V extends Variables>(document: TypedDocumentNode<Answer, V>, variables: V): Promise<Answer> {
    return this.#http.request<Answer>({ document, variables });
  }
}

/** A mutation's payload, if its input was right. */
export function accepted<Payload extends { userErrors: UserError[] }>(payload: Payload): Payload {
  if (payload.userErrors.length > 0) {
    throw new Refused(payload.userErrors);
  }
  return payload;
}
