// Shows every webhook, and again each that changes, until it is interrupted. Over a restart of the server too: what happens
// while the connection is broken no subscription tells, so all are asked for again when it is back.
import { Client } from './client.js';
import { needed, server } from './environment.js';
import { Overview, WebhookChanged } from './operations.js';
import { row } from './row.js';

async function showAll(why: string): Promise<void> {
  const { webhooks } = await user.ask(Overview, {});
  console.log(`${why}: ${webhooks.totalCount} webhooks`);
  for (const webhook of webhooks.nodes) {
    console.log(row(webhook));
  }
}

const user = new Client(server, needed('USER_TOKEN'), () => {
  showAll('connected again').catch(console.error);
});
await showAll('connected');
for await (const { webhookChanged } of user.watch(WebhookChanged, {})) {
  console.log(row(webhookChanged));
}
