#!/usr/bin/env bash
# The cost of row-level security as a second barrier behind the server's own checks: the list and the claim, with and
# without policies, as processor time of the database per transaction. The kernel counts it, so a busy machine distorts
# it less than a clock. Needs an installed Postgres with pgbench (PG_BIN_DIR, or pg_config on the PATH).
#
#   docs/measurements/row-level-security.sh [SECONDS-PER-RUN] [ROUNDS]
set -euo pipefail
seconds=${1:-10} rounds=${2:-5}
bin=${PG_BIN_DIR:-$(pg_config --bindir)}
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
as=() # Postgres refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    chown nobody "$work"
    as=(setpriv --reuid=nobody --clear-groups)
fi
trap '"${as[@]}" "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
cd "$work"
"${as[@]}" "$bin/initdb" -D "$work/data" -U owner --no-sync -A trust >/dev/null
"${as[@]}" "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" -o "-k $work -c listen_addresses='' -c fsync=off \
    -c autovacuum=off -c shared_buffers=256MB" start >/dev/null
psql=("$bin/psql" -h "$work" -U owner -d postgres -qX -v ON_ERROR_STOP=1)
for file in "$here"/migrations/*/up.sql; do "${psql[@]}" -f "$file"; done

# 640 companies of 40 webhooks with four open deliveries each.
"${psql[@]}" <<'SQL'
create table events_of_the_day partition of events for values from ('2026-11-01') to ('2026-12-01');
insert into webhooks (lane, id, company, owner, user_id, kind, url, action, object, version, secret, created_at, updated_at)
select c % 64, md5(c || '.' || n)::uuid, c, 1 + n % 4, 1 + n % 4, 1, 'https://receiver.example/hook/' || n, 0, '*', 2,
       '\x00', timestamptz '2026-11-20' + n * interval '1 minute', timestamptz '2026-11-20' + n * interval '1 minute'
from generate_series(1, 640) c, generate_series(1, 40) n;
insert into webhook_health (lane, webhook) select lane, id from webhooks;
insert into events (lane, id, accepted_at, company, action, object, object_id, user_id, data, change_source, is_bulk_edit, correlation_id)
select c % 64, md5('e' || c || '.' || n)::uuid, '2026-11-20', c, 2, 'deal', n::text, 1, repeat('x', 200), 1, false, 'cause'
from generate_series(1, 640) c, generate_series(1, 4) n;
insert into deliveries (lane, webhook, event, generation, company, number, created_at, event_at, due_at, vis_at, token)
select w.lane, w.id, e.id, 0, w.company, 1, e.accepted_at, e.accepted_at, e.accepted_at, e.accepted_at, 1
from webhooks w join events e on e.lane = w.lane and e.company = w.company;
create role tenant login; create role engine login;
grant select, update on all tables in schema public to tenant, engine;
vacuum (freeze, analyze);
SQL

# The statement of server/crates/store/src/webhooks/list.rs, for an admin.
cat >list.sql <<'SQL'
\set company random(1, 640)
\set lane :company % 64
select w.*, h.* from webhooks w join webhook_health h on h.lane = w.lane and h.webhook = w.id
where w.lane = :lane and w.company = :company and (w.app is null) and (w.removed_at is null or w.removed_at > '2026-10-24')
  and not (w.removed_at is not null or coalesce(h.failing_since <= '2026-11-17', false))
order by w.created_at desc, w.id desc limit 21;
SQL
# The same in a transaction that first sets the company.
{
    sed -n 1,2p list.sql
    echo "begin;"
    echo "select set_config('tenterhook.company', (:company)::text, true);"
    sed -n '3,$p' list.sql
    echo "commit;"
} >list-of-tenant.sql
# The statement of server/crates/store/src/queue/claim.rs. Claimed rows stay visible, so that each transaction finds the same rows.
cat >claim.sql <<'SQL'
\set company random(1, 640)
\set lane :company % 64
\set n random(1, 40)
with picked as (
    select d.webhook, d.event, d.generation
    from unnest(array[md5(:company || '.' || :n)::uuid], array[8]) as w(webhook, room)
    cross join lateral (
        select webhook, event, generation from deliveries
        where lane = :lane and webhook = w.webhook and vis_at <= '2026-11-20'
        order by vis_at limit w.room for update skip locked
    ) d
), taken as (
    update deliveries as d set owner = 1, vis_at = '2026-11-20', token = d.token + 1
    from picked p
    where d.lane = :lane and d.webhook = p.webhook and d.event = p.event and d.generation = p.generation
    returning d.lane, d.webhook, d.event, d.generation, d.company, d.number, d.created_at, d.event_at, d.due_at, d.token
)
select t.*, e.* from taken t join events e on e.lane = :lane and e.id = t.event and e.accepted_at = t.event_at
order by t.due_at;
SQL

policies() {
    "${psql[@]}" <<'SQL'
do $$ declare name text; begin
    foreach name in array array['webhooks', 'events', 'deliveries'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy own on %I to tenant using (company = current_setting(''tenterhook.company'')::bigint)', name);
        execute format('create policy everything on %I to engine using (true)', name);
    end loop;
    -- It has no company of its own.
    alter table webhook_health enable row level security;
    create policy own on webhook_health to tenant using (exists (select from webhooks w
        where w.lane = webhook_health.lane and w.id = webhook_health.webhook));
    create policy everything on webhook_health to engine using (true);
end $$;
SQL
}
no_policies() {
    "${psql[@]}" <<'SQL'
do $$ declare name text; begin
    foreach name in array array['webhooks', 'webhook_health', 'events', 'deliveries'] loop
        execute format('drop policy own on %I', name);
        execute format('drop policy everything on %I', name);
        execute format('alter table %I disable row level security', name);
    end loop;
end $$;
SQL
}
postmaster=$(head -1 "$work/data/postmaster.pid")
hz=$(getconf CLK_TCK)
standing=$(ps --no-headers --ppid "$postmaster" | wc -l)
# The clock ticks that ended backends used, once all of them have ended.
used() {
    while [ "$(ps --no-headers --ppid "$postmaster" | wc -l)" -gt "$standing" ]; do sleep 0.05; done
    awk '{ print $16 + $17 }' "/proc/$postmaster/stat"
}
# run NAME ROLE SCRIPT: records the microseconds of processor time per transaction.
run() {
    local before after done
    "${psql[@]}" -c "vacuum deliveries" -c checkpoint
    before=$(used)
    done=$("$bin/pgbench" -h "$work" -U "$2" -n -M prepared -c 1 -T "$seconds" -f "$3" postgres |
        awk '/transactions actually processed/ { split($6, n, "/"); print n[1] }')
    after=$(used)
    awk -v ticks=$((after - before)) -v hz="$hz" -v n="$done" 'BEGIN { printf "%.1f\n", ticks / hz / n * 1e6 }' >>"$1"
}
for _ in $(seq "$rounds"); do
    run "list, as it is" tenant list.sql
    run "list, in a transaction that says whose it is" tenant list-of-tenant.sql
    run "claim, as it is" engine claim.sql
    policies
    run "list, in such a transaction, with policies" tenant list-of-tenant.sql
    run "claim, with policies that let the engine pass" engine claim.sql
    no_policies
done
for name in list* claim*; do
    case $name in *.sql) continue ;; esac
    printf '%-50s %8.1f us of processor time per transaction (median of %s)\n' "$name" \
        "$(sort -n "$name" | sed -n "$((rounds / 2 + 1))p")" "$rounds"
done
