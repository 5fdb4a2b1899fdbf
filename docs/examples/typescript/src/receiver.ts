// A receiver on this machine that accepts only requests signed with its webhook's secret (Standard Webhooks).
import { createHmac, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  eventId: string;
  body: unknown;
}

/** Whether one of the signatures was made with the secret. A secret is `whsec_` followed by base64. */
export function isSigned(secret: string, headers: IncomingHttpHeaders, body: Buffer): boolean {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = headers;
  if (typeof id !== 'string' || typeof timestamp !== 'string' || typeof signatures !== 'string') {
    return false;
  }
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
  return signatures.split(' ').some((signature) => {
    const [version, value] = signature.split(',');
    const given = Buffer.from(value ?? '', 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

export class Receiver {
  /** Set when the webhook has been created: the secret is not known before. */
  secret = '';
  readonly #server: Server;
  readonly #received: Received[] = [];
  readonly #waiting: ((received: Received) => void)[] = [];

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks);
        // A receiver should also refuse an old webhook-timestamp, so that nobody can send a recorded request again. This
        // one does not, because a server in simulated time may call it.
        if (!isSigned(this.secret, request.headers, body)) {
          response.writeHead(401).end();
          return;
        }
        response.writeHead(204).end();
        const eventId = String(request.headers['webhook-id']);
        this.#take({ eventId, body: JSON.parse(body.toString('utf8')) });
      });
    });
  }

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`;
  }

  /** The next event, including one that has arrived since the last call. */
  async next(): Promise<Received> {
    return this.#received.shift() ?? new Promise((resolve) => this.#waiting.push(resolve));
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #take(received: Received): void {
    const waiting = this.#waiting.shift();
    if (waiting) {
      waiting(received);
    } else {
      this.#received.push(received);
    }
  }
}
