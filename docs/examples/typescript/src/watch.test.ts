// Tests `watch` with a server that is stopped and started again. SERVER_PID_FILE has its process id.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { accepted, Client } from './client.js';
import { needed, server } from './environment.js';
import { CreateWebhook, DeleteWebhook, RenameWebhook, WebhookChanged } from './operations.js';

const PATIENCE_MS = 60_000;
const AGAIN_MS = 200;

async function until(holds: () => Promise<boolean>): Promise<void> {
  const late = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    assert(Date.now() < late, 'it did not come to that');
    await pause(AGAIN_MS);
  }
}

test('a wrong token is not tried again', async () => {
  const nobody = new Client(server, 'no token');
  await assert.rejects(nobody.watch(WebhookChanged, {}).next(), /4403/);
  await nobody.close();
});

test('what changes is shown, over a restart of the server too', async () => {
  const user = new Client(server, needed('USER_TOKEN'));
  const input = { subscriptionUrl: 'http://127.0.0.1:9/hook', eventAction: 'ANY', eventObject: 'deal' } as const;
  const { webhook } = accepted((await user.ask(CreateWebhook, { input })).createWebhook);
  assert(webhook);
  const lines: string[] = [];
  const program = spawn(process.execPath, [fileURLToPath(new URL('watch.js', import.meta.url))], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  createInterface(program.stdout).on('line', (line) => lines.push(line));
  let names = 0;
  // The client cannot see when the subscription begins, so the test renames the webhook until a name is shown.
  const changeIsShown = async () => {
    const name = `name-${(names += 1)}`;
    accepted((await user.ask(RenameWebhook, { id: webhook.id, name })).updateWebhook);
    await pause(AGAIN_MS);
    return lines.some((line) => line.includes(` ${name} `));
  };
  try {
    await until(async () => lines.some((line) => line.startsWith('connected: ')));
    await until(changeIsShown);
    process.kill(Number(readFileSync(needed('SERVER_PID_FILE'), 'utf8')), 'SIGTERM');
    await until(async () => lines.some((line) => line.startsWith('connected again: ')));
    await until(changeIsShown);
  } finally {
    program.kill();
  }
  await user.ask(DeleteWebhook, { id: webhook.id });
});
