// GraphiQL in headless Chromium, which can reach no host but the server. CHROMIUM is the path of the browser.
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { ask, deleteWebhook, hook, publish, url, userToken } from './server.js';

const skip = !process.env.CHROMIUM && 'CHROMIUM is not set';
const ADDRESS = new URL('graphiql', url);
const SCREENSHOT = join(tmpdir(), 'tenterhook-graphiql.png');
const PATIENCE_MS = 30_000;
const AGAIN_MS = 200;
const OPTIONS = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
  // No other name resolves, so that requests outside the page's control fail too.
  `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE ${ADDRESS.hostname}`,
];

/** Both stay empty if the page has no errors and calls no other host. */
const seen = { complaints: [], foreign: [] };
let browser;
let page;
let onFrame = () => undefined;

before(async () => {
  if (skip) {
    return;
  }
  // A separate profile, which is deleted afterwards. No sandbox, because it does not work as root.
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, chromiumSandbox: false, args: OPTIONS });
  page = await browser.newPage({ viewport: { width: 1300, height: 800 } });
  page.setDefaultTimeout(PATIENCE_MS);
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) {
      seen.complaints.push(message.text());
    }
  });
  page.on('pageerror', (error) => seen.complaints.push(error.message));
  await page.exposeFunction('violated', (what) => seen.complaints.push(what));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
      window.violated(`${violatedDirective} does not allow ${blockedURI}`));
  });
  const isForeign = (address) => !['data:', 'blob:'].includes(address.protocol) && address.host !== ADDRESS.host;
  page.on('request', (request) => {
    if (isForeign(new URL(request.url()))) {
      seen.foreign.push(request.url());
    }
  });
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => onFrame(payload));
    if (isForeign(new URL(socket.url()))) {
      seen.foreign.push(socket.url());
    }
  });
  await page.route(isForeign, (route) => route.abort());
});

after(() => browser?.close());

/** A step; if it fails, a screenshot of the page is kept. */
function step(name, run) {
  test(name, { skip }, async () => {
    try {
      await run();
    } catch (error) {
      await page.screenshot({ path: SCREENSHOT });
      error.message += `\nThe page: ${SCREENSHOT}\nIts complaints: ${seen.complaints.join('\n') || 'none'}`;
      throw error;
    }
  });
}

async function until(holds) {
  const late = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    assert(Date.now() < late, 'it did not come to that');
    await pause(AGAIN_MS);
  }
}

const result = () => page.locator('.result-window');

/** The name of the next operation that the page sends, over HTTP or the socket. */
function asked() {
  const isNamed = (text) => text?.includes('"operationName"');
  const request = page.waitForRequest((sent) => isNamed(sent.postData()));
  const frame = new Promise((resolve) => onFrame = (text) => isNamed(text) && resolve(JSON.parse(text).payload));
  return Promise.race([request.then((sent) => sent.postDataJSON()), frame]).then(({ operationName }) => operationName);
}

/**
 * Opens the tab of an example and presses the play button. Tries again if that was too early: GraphiQL reads a document
 * a moment after it is shown, and until then sends the operation of the previous tab.
 */
async function play(example) {
  await page.locator('.graphiql-tab-button').getByText(example, { exact: true }).click();
  await until(async () => {
    const name = asked();
    await page.locator('.graphiql-execute-button').click();
    return (await name) === example;
  });
}

/** The text of the result window, once it is a response with this field. */
async function shown(field) {
  await result().filter({ hasText: `"${field}"` }).waitFor();
  const lines = await result().locator('.CodeMirror-line').allTextContents();
  return lines.join('\n');
}

step('it shows', async () => {
  await page.goto(ADDRESS.href);
  await page.locator('.graphiql-execute-button').waitFor();
  assert.match(await page.locator('#standing').textContent(), /Paste a token/);
});

step('it takes a token', async () => {
  const schema = page.waitForResponse((response) => response.url() === url);
  await page.locator('#token').fill(`Bearer ${userToken}`);
  await page.getByRole('button', { name: 'Use', exact: true }).click();
  assert.match(await page.locator('#standing').textContent(), /^user 1 of company \d+ \(webhooks:read/);
  const { data } = await (await schema).json();
  assert.equal(data.__schema.queryType.name, 'Query');
});

step('it asks', async () => {
  await play('Webhooks');
  assert.match(await shown('webhookQuota'), /"userId": "1"/);
});

step('it changes', async () => {
  await play('Create');
  assert.match(await shown('createWebhook'), /"userErrors": \[\]/);
  const { webhooks } = await ask('{ webhooks(first: 1) { nodes { id name } } }');
  assert.equal(webhooks.nodes[0].name, 'From GraphiQL');
  await deleteWebhook(webhooks.nodes[0].id);
});

step('it listens', async () => {
  const { end } = await hook();
  try {
    await play('Attempts');
    await until(async () => {
      await publish();
      return (await result().textContent()).includes('attemptRecorded');
    });
    // The play button now stops the subscription.
    await page.locator('.graphiql-execute-button').click();
  } finally {
    await end();
  }
});

step('nothing was complained of, and nobody else was asked', async () => {
  assert.deepEqual(seen, { complaints: [], foreign: [] });
});

step('either would have been noticed', async () => {
  const elsewhere = 'http://elsewhere.invalid/';
  await page.evaluate((address) => fetch(address).catch(() => undefined), elsewhere);
  await until(() => seen.complaints.includes(`connect-src does not allow ${elsewhere}`));
  await assert.rejects(page.goto(elsewhere));
  assert.deepEqual(seen.foreign, [elsewhere]);
});
