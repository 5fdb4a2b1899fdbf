-- What the idempotency key of a creation stands for. A key is its chooser's own: the user's that calls, through one app or
-- none (''). `password_print` is not the password. With a sealing key it shows whether another password is the same.
create table creations (
    lane           integer not null,
    company        bigint not null,
    user_id        bigint not null,
    app            text not null,
    key            text not null,
    request_hash   bytea not null,
    password_print bytea,
    webhook        uuid not null,
    expires_at     timestamptz not null,
    primary key (lane, company, user_id, app, key)
);
create index creations_expired on creations (expires_at);
