// What a Relay frontend would write: fragments, a paginated connection, a refetchable fragment (through `node`) and a
// mutation. relay-compiler takes these only from a schema that is as Relay wants it.
import { graphql } from 'relay-runtime';

export const row = graphql`
  fragment webhooks_row on Webhook @refetchable(queryName: "webhooksRowRefetchQuery") {
    id
    number
    name
    health {
      state
      bannedUntil
    }
  }
`;

export const list = graphql`
  fragment webhooks_list on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "String" })
  @refetchable(queryName: "webhooksPaginationQuery") {
    webhooks(first: $count, after: $cursor) @connection(key: "webhooks_webhooks") {
      edges {
        node {
          ...webhooks_row
        }
      }
    }
  }
`;

export const page = graphql`
  query webhooksQuery {
    viewer {
      userId
    }
    ...webhooks_list
  }
`;

export const deliveries = graphql`
  fragment webhooks_deliveries on Webhook
  @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "String" })
  @refetchable(queryName: "webhooksDeliveriesPaginationQuery") {
    deliveries(first: $count, after: $cursor) @connection(key: "webhooks_deliveries") {
      edges {
        node {
          id
          status
          attempts {
            number
            httpStatus
          }
        }
      }
    }
  }
`;

export const create = graphql`
  mutation webhooksCreateMutation($input: CreateWebhookInput!, $connections: [ID!]!) {
    createWebhook(input: $input) {
      webhook @prependNode(connections: $connections, edgeTypeName: "WebhookEdge") {
        ...webhooks_row
      }
      signingSecret
      userErrors {
        code
        message
      }
    }
  }
`;

export const remove = graphql`
  mutation webhooksDeleteMutation($id: ID!, $connections: [ID!]!) {
    deleteWebhook(input: { id: $id }) {
      deletedWebhookId @deleteEdge(connections: $connections)
      userErrors {
        code
      }
    }
  }
`;
