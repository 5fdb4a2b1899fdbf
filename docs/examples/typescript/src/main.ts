// From a token to a delivered event: lists webhooks, creates one, publishes as the platform does, waits until the event
// has arrived and the server has recorded it, and cleans up.
import { setTimeout as pause } from 'node:timers/promises';
import { accepted, Client } from './client.js';
import { needed, server } from './environment.js';
import { CreateWebhook, DeleteWebhook, EventDeliveries, Overview, Publish, WebhookHealth } from './operations.js';
import { Receiver } from './receiver.js';
import { row } from './row.js';

/** How long an event may take. */
const PATIENCE_MS = 20_000;
const ASK_EVERY_MS = 50;

function here<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) {
    throw new Error(`no ${what}`);
  }
  return value;
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = new AbortController();
  const timer = pause(PATIENCE_MS, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${what} took more than ${PATIENCE_MS} ms`);
  });
  try {
    return await Promise.race([promise, timer]);
  } finally {
    late.abort();
    timer.catch(() => undefined);
  }
}

async function delivered(user: Client, webhookId: string, eventId: string) {
  for (;;) {
    const { deliveries } = await user.ask(EventDeliveries, { webhookId, eventId });
    const delivery = deliveries.nodes[0];
    if (delivery && delivery.status !== 'PENDING') {
      return delivery;
    }
    await pause(ASK_EVERY_MS);
  }
}

const user = new Client(server, needed('USER_TOKEN'));
const platform = new Client(server, needed('PLATFORM_TOKEN'));

const { viewer, webhookQuota, webhooks } = await user.ask(Overview, {});
const companyId = here(viewer.companyId, 'company: is USER_TOKEN a user\'s?');
const userId = here(viewer.userId, 'user');
console.log(`user ${userId} of company ${companyId}: ${webhookQuota.used} of ${webhookQuota.limit} webhooks`);
for (const webhook of webhooks.nodes) {
  console.log(`  ${row(webhook)}`);
}

const receiver = await Receiver.start();
try {
  const input = { subscriptionUrl: receiver.url, eventAction: 'ANY', eventObject: 'deal', name: 'Example' } as const;
  const created = accepted((await user.ask(CreateWebhook, { input })).createWebhook);
  const { id, number } = here(created.webhook, 'webhook');
  receiver.secret = here(created.signingSecret, 'signing secret');
  console.log(`created webhook ${number}`);

  const deal = { id: 8, title: 'Bigger', value: 20 };
  const change = {
    companyId, userId, action: 'CHANGE', object: 'deal', objectId: '8', data: deal, previous: { ...deal, value: 10 },
  } as const;
  const published = accepted((await platform.ask(Publish, { input: { events: [change] } })).publishEvents);
  const { eventId } = here(published.events[0], 'event').event;
  console.log(`published event ${eventId}`);

  const received = await within(receiver.next(), 'the request');
  if (received.eventId !== eventId) {
    throw new Error(`received ${received.eventId}`);
  }
  console.log('received it, and its signature is right');

  const delivery = await within(delivered(user, id, eventId), 'the delivery');
  for (const attempt of delivery.attempts) {
    console.log(`attempt ${attempt.number}: ${attempt.httpStatus ?? attempt.errorClass} in ${attempt.durationMs} ms`);
  }
  if (delivery.status !== 'SUCCEEDED') {
    throw new Error(`the delivery is ${delivery.status} ${delivery.reason ?? ''}`);
  }
  const { webhook } = await user.ask(WebhookHealth, { id });
  const health = here(webhook, 'webhook').health;
  console.log(`${delivery.status}; the webhook is ${health.state}, last success ${health.lastSuccessAt ?? 'never'}`);

  accepted((await user.ask(DeleteWebhook, { id })).deleteWebhook);
  console.log('deleted the webhook');
} finally {
  receiver.stop();
}
