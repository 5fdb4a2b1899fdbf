// The operations of this client. graphql-codegen checks them against the schema and generates types of variables and responses.
import { graphql } from './generated/index.js';

export const WebhookRow = graphql(`
  fragment WebhookRow on Webhook {
    id
    number
    name
    subscriptionUrl
    eventAction
    eventObject
    health {
      state
      banCounter
      banThreshold
    }
  }
`);

export const Overview = graphql(`
  query Overview {
    viewer {
      userId
      companyId
      scopes
    }
    webhookQuota(type: GENERAL) {
      used
      limit
    }
    webhooks(first: 20) {
      nodes {
        ...WebhookRow
      }
      totalCount
    }
  }
`);

export const CreateWebhook = graphql(`
  mutation CreateWebhook($input: CreateWebhookInput!) {
    createWebhook(input: $input) {
      webhook {
        id
        number
      }
      signingSecret
      userErrors {
        code
        message
        path
      }
    }
  }
`);

export const WebhookHealth = graphql(`
  query WebhookHealth($id: ID!) {
    webhook(id: $id) {
      health {
        state
        banCounter
        banThreshold
        lastSuccessAt
        lastHttpStatus
        nextTransition {
          at
          to
          because
        }
      }
    }
  }
`);

export const Publish = graphql(`
  mutation Publish($input: PublishEventsInput!) {
    publishEvents(input: $input) {
      events {
        event {
          eventId
        }
        deliveryCount
      }
      userErrors {
        code
        message
        path
      }
    }
  }
`);

export const EventDeliveries = graphql(`
  query EventDeliveries($webhookId: ID!, $eventId: ID!) {
    deliveries(filter: { webhookId: $webhookId, eventId: $eventId }, first: 1) {
      nodes {
        status
        reason
        attempts {
          number
          httpStatus
          errorClass
          durationMs
        }
      }
    }
  }
`);

export const WebhookChanged = graphql(`
  subscription WebhookChanged {
    webhookChanged {
      ...WebhookRow
    }
  }
`);

export const RenameWebhook = graphql(`
  mutation RenameWebhook($id: ID!, $name: String!) {
    updateWebhook(input: { id: $id, name: $name }) {
      userErrors {
        code
        message
        path
      }
    }
  }
`);

export const DeleteWebhook = graphql(`
  mutation DeleteWebhook($id: ID!) {
    deleteWebhook(input: { id: $id }) {
      deletedWebhookId
      userErrors {
        code
        message
        path
      }
    }
  }
`);
