// One line of text for a webhook.
import type { WebhookRowFragment } from './generated/graphql.js';

export function row(webhook: WebhookRowFragment): string {
  const { state, banCounter, banThreshold } = webhook.health;
  return `${webhook.number} ${webhook.name ?? ''} ${webhook.eventAction} ${webhook.eventObject} → ` +
    `${webhook.subscriptionUrl}: ${state}, ${banCounter} of ${banThreshold} failures`;
}
