//! The scenarios that are also played through REST as tests. `tenterhook-harness run --face rest` plays all that REST can express.

/// A few of each kind that do little else than to create, list and delete webhooks: a play costs as much as any other, and
/// REST calls the same functions as GraphQL.
pub const NAMES: [&str; 36] = [
    // Webhooks: type, version, catalogue, removed ones, and what an input may be.
    "the-type-follows-from-the-token",
    "version-2-is-the-default",
    "what-is-not-in-the-catalogue-is-refused",
    "lists-leave-out-what-was-removed",
    "a-removed-webhook-cannot-be-changed",
    "only-http-and-https-urls",
    "private-addresses-are-refused",
    "a-url-of-2049-characters",
    "a-name-of-256-characters",
    // Limits.
    "limit-41-general-webhooks",
    "limit-41-application-webhooks",
    "limit-under-concurrency",
    "each-user-and-each-app-has-its-own-limit",
    "a-removed-webhook-frees-its-place",
    "an-admins-webhook-for-a-user-takes-that-users-place",
    // Visibility.
    "what-a-user-sees-of-general-webhooks",
    "what-a-user-sees-of-application-webhooks",
    "what-an-admin-sees-of-general-webhooks",
    "what-an-admin-sees-of-application-webhooks",
    "what-an-app-sees-of-general-webhooks",
    "what-an-app-sees-of-application-webhooks",
    "what-an-app-sees-under-own-general",
    "the-platform-reads-no-webhooks",
    "nobody-without-a-token-sees-webhooks",
    "a-reader-may-not-write-nor-a-writer-read",
    "an-app-without-the-admin-scope-sees-nothing",
    // Permissions.
    "an-app-deletes-its-own-webhook",
    "another-app-cannot-delete-an-application-webhook",
    "the-admin-cannot-delete-an-application-webhook",
    "an-app-that-is-not-installed-cannot-delete",
    "another-user-cannot-delete-a-general-webhook",
    "the-admin-deletes-anybodys-general-webhook",
    "an-app-cannot-delete-a-general-webhook-under-own-general",
    "a-regular-user-cannot-create-for-another",
    "an-admin-cannot-create-for-an-unknown-user",
    "an-application-webhook-is-the-tokens-own-users",
];
