// Shows every webhook, and each one again when it changes, until it is interrupted. Survives a restart of the server:
// no subscription reports changes that happen while the connection is broken, so it then queries all webhooks again.
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
