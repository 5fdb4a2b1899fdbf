-- What the idempotency key of a replay stands for. A key is its chooser's own: an operator, who has neither, is company
-- and user 0; without an app it is ''. The deliveries are the first hundred, all of them made at `created_at`.
create table replays (
    lane         integer not null,
    company      bigint not null,
    user_id      bigint not null,
    app          text not null,
    key          text not null,
    request_hash bytea not null,
    created_at   timestamptz not null,
    count        integer not null,
    lanes        integer[] not null,
    webhooks     uuid[] not null,
    events       uuid[] not null,
    generations  integer[] not null,
    expires_at   timestamptz not null,
    primary key (lane, company, user_id, app, key)
);
create index replays_expired on replays (expires_at);
