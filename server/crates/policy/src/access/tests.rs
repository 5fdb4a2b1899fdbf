//! The whole table of callers and webhooks, and what holds for every cell.

use super::*;
use crate::samples;

const ME: i64 = 11;
const COLLEAGUE: i64 = 12;

fn user(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

fn app(id: &str) -> AppId {
    id.parse().unwrap()
}

fn token(role: UserRole, through: Option<&str>) -> UserCaller {
    UserCaller {
        company: CompanyId::new(1).unwrap(),
        user: user(ME),
        role,
        app: through.map(app),
        // Through an app `admin` alone is enough, and without one it is not needed (W2).
        may_read: through.is_none(),
        may_write: through.is_none(),
        has_admin_scope: through.is_some(),
    }
}

fn caller(role: UserRole, through: Option<&str>) -> Caller {
    Caller::User(token(role, through))
}

/// A user's token with other scopes: `webhooks:read`, `webhooks:write` and `admin`.
fn scoped(
    role: UserRole,
    through: Option<&str>,
    (may_read, may_write, has_admin_scope): (bool, bool, bool),
) -> Caller {
    Caller::User(UserCaller {
        may_read,
        may_write,
        has_admin_scope,
        ..token(role, through)
    })
}

/// Every kind of caller, by name, and whether its app is installed.
fn callers() -> Vec<(&'static str, Caller, bool)> {
    use UserRole::{Admin, Regular};
    let a = Some("A");
    vec![
        ("regular", caller(Regular, None), false),
        ("admin", caller(Admin, None), false),
        ("regular through A", caller(Regular, a), true),
        ("admin through A", caller(Admin, a), true),
        ("regular through A, not installed", caller(Regular, a), false),
        ("admin through A, not installed", caller(Admin, a), false),
        (
            "regular through A, no admin scope",
            scoped(Regular, a, (true, true, false)),
            true,
        ),
        (
            "admin through A, no admin scope",
            scoped(Admin, a, (true, true, false)),
            true,
        ),
        (
            "regular, admin scope",
            scoped(Regular, None, (true, true, true)),
            false,
        ),
        (
            "regular, admin scope alone",
            scoped(Regular, None, (false, false, true)),
            false,
        ),
        (
            "regular, reads only",
            scoped(Regular, None, (true, false, false)),
            false,
        ),
        (
            "regular through A, every scope",
            scoped(Regular, a, (true, true, true)),
            true,
        ),
        (
            "admin, writes only",
            scoped(Admin, None, (false, true, false)),
            false,
        ),
        ("platform", Caller::Platform, false),
        ("operator", Caller::Operator, false),
    ]
}

/// Both values of the setting.
const STATES: [AppSees; 2] = [AppSees::Application, AppSees::OwnGeneral];

fn app_access(installed: bool, sees: AppSees) -> AppAccess {
    AppAccess { installed, sees }
}

/// Where an app sees only its own webhooks. What does not depend on the setting is tested with this value.
fn installed(installed: bool) -> AppAccess {
    app_access(installed, AppSees::Application)
}

/// The columns of the tables below.
fn webhooks() -> [Webhook; 6] {
    let general = |id| Webhook {
        user: user(id),
        ..samples::webhook()
    };
    let application = |id, of| Webhook {
        app: Some(app(of)),
        ..general(id)
    };
    [
        general(ME),
        // The caller is the owner, which gives no rights (W4).
        Webhook {
            owner: user(ME),
            ..general(COLLEAGUE)
        },
        application(ME, "A"),
        application(ME, "B"),
        application(COLLEAGUE, "A"),
        Webhook {
            company: CompanyId::new(2).unwrap(),
            ..general(ME)
        },
    ]
}

/// A row of a table: one letter per webhook.
fn row(cell: impl Fn(&Webhook) -> char) -> String {
    webhooks().iter().map(cell).collect()
}

/// Columns: my general, a colleague's general, mine of A, mine of B, a colleague's of A, another company's. One row of
/// columns where apps see only their own webhooks, and one where they also see the general ones of their user.
#[test]
fn w4_w5_callers_see_only_permitted_webhooks() {
    let expected = [
        ("regular", ["x.....", "x....."]),
        ("admin", ["xx....", "xx...."]),
        ("regular through A", ["..x...", "x.x..."]),
        ("admin through A", ["..x...", "x.x..."]),
        ("regular through A, not installed", ["......", "......"]),
        ("admin through A, not installed", ["......", "......"]),
        ("regular through A, no admin scope", ["......", "......"]),
        ("admin through A, no admin scope", ["......", "......"]),
        ("regular, admin scope", ["x.....", "x....."]),
        ("regular, admin scope alone", ["......", "......"]),
        ("regular, reads only", ["x.....", "x....."]),
        ("regular through A, every scope", ["..x...", "x.x..."]),
        ("admin, writes only", ["......", "......"]),
        ("platform", ["......", "......"]),
        ("operator", ["xxxxxx", "xxxxxx"]),
    ];
    assert_eq!(callers().len(), expected.len());
    for ((name, caller, installed), (expected_name, expected)) in callers().iter().zip(expected) {
        let seen = STATES.map(|state| {
            let scope = scope(caller, app_access(*installed, state));
            row(|webhook| if sees(&scope, webhook) { 'x' } else { '.' })
        });
        assert_eq!(seen, expected, "{name}");
        assert_eq!(*name, expected_name);
    }
}

/// The same columns. U, A, P: deleted by user, admin, app. F forbidden, n not found, s lacks the scope, i app not installed.
#[test]
fn w2_w6_w7_callers_delete_only_permitted_webhooks() {
    let expected = [
        ("regular", ["Unnnnn", "Unnnnn"]),
        ("admin", ["UAnnnn", "UAnnnn"]),
        ("regular through A", ["nnPnnn", "FnPnnn"]),
        ("admin through A", ["nnPnnn", "FnPnnn"]),
        ("regular through A, not installed", ["iiiiii", "iiiiii"]),
        ("admin through A, not installed", ["iiiiii", "iiiiii"]),
        ("regular through A, no admin scope", ["ssssss", "ssssss"]),
        ("admin through A, no admin scope", ["ssssss", "ssssss"]),
        ("regular, admin scope", ["Unnnnn", "Unnnnn"]),
        ("regular, admin scope alone", ["ssssss", "ssssss"]),
        ("regular, reads only", ["ssssss", "ssssss"]),
        ("regular through A, every scope", ["nnPnnn", "FnPnnn"]),
        ("admin, writes only", ["UAnnnn", "UAnnnn"]),
        ("platform", ["ssssss", "ssssss"]),
        ("operator", ["ssssss", "ssssss"]),
    ];
    let letter = |decision| match decision {
        Ok(RemoveReason::DeletedByUser) => 'U',
        Ok(RemoveReason::DeletedByAdmin) => 'A',
        Ok(RemoveReason::DeletedByApp) => 'P',
        Ok(_) => '?',
        Err(Denial::Forbidden(_)) => 'F',
        Err(Denial::NotFound) => 'n',
        Err(Denial::MissingScope) => 's',
        Err(Denial::AppNotInstalled) => 'i',
    };
    assert_eq!(callers().len(), expected.len());
    for ((name, caller, installed), (expected_name, expected)) in callers().iter().zip(expected) {
        let decided = STATES.map(|state| {
            let app = app_access(*installed, state);
            row(|webhook| letter(delete(caller, webhook, app)))
        });
        assert_eq!(decided, expected, "{name}");
        assert_eq!(*name, expected_name);
    }
}

/// Columns: the general webhooks of me, of a colleague, and of somebody with my number in another company.
#[test]
fn w3_w4_callers_count_only_general_webhooks_that_they_see() {
    let whose = [(1, ME), (1, COLLEAGUE), (2, ME)];
    let expected = [
        ("regular", ["x..", "x.."]),
        ("admin", ["xx.", "xx."]),
        ("regular through A", ["...", "x.."]),
        ("admin through A", ["...", "x.."]),
        ("regular through A, not installed", ["...", "..."]),
    ];
    for ((name, caller, installed), (expected_name, expected)) in callers().iter().zip(expected) {
        let counted = STATES.map(|state| {
            let scope = scope(caller, app_access(*installed, state));
            let cell = |(company, id)| {
                let company = CompanyId::new(company).unwrap();
                if reaches_general(&scope, company, user(id)) {
                    'x'
                } else {
                    '.'
                }
            };
            whose.iter().copied().map(cell).collect::<String>()
        });
        assert_eq!(counted, expected, "{name}");
        assert_eq!(*name, expected_name);
    }
}

#[test]
fn change_and_replay_follow_delete_but_operators_may_replay() {
    for (name, caller, installed) in callers() {
        for (webhook, state) in webhooks()
            .iter()
            .flat_map(|webhook| STATES.map(|state| (webhook, state)))
        {
            let app = app_access(installed, state);
            let deletes = delete(&caller, webhook, app).map(|_| ());
            assert_eq!(change(&caller, webhook, app), deletes, "{name}");
            let expected = if caller == Caller::Operator {
                Ok(())
            } else {
                deletes
            };
            assert_eq!(replay(&caller, webhook, app), expected, "{name}");
        }
    }
}

#[test]
fn forbidden_webhooks_are_visible_and_not_found_ones_are_not() {
    for (name, caller, installed) in callers() {
        for state in STATES {
            let app = app_access(installed, state);
            let scope = scope(&caller, app);
            for webhook in webhooks() {
                match change(&caller, &webhook, app) {
                    Err(Denial::Forbidden(_)) => assert!(sees(&scope, &webhook), "{name}"),
                    Err(Denial::NotFound) => assert!(!sees(&scope, &webhook), "{name}"),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn w2_without_the_scopes_a_token_does_not_read_at_all() {
    let denied: Vec<_> = callers()
        .into_iter()
        .filter(|(_, caller, _)| read(caller).is_err())
        .map(|(name, ..)| name)
        .collect();
    let expected = [
        "regular through A, no admin scope",
        "admin through A, no admin scope",
        "regular, admin scope alone",
        "admin, writes only",
        "platform",
    ];
    assert_eq!(denied, expected);
}

#[test]
fn w1_the_creator_decides_the_type() {
    let own = |app| NewOwnership {
        owner: user(ME),
        user: user(ME),
        app,
    };
    for role in [UserRole::Regular, UserRole::Admin] {
        for requested in [None, Some(user(ME))] {
            assert_eq!(
                create_as(&caller(role, None), requested, installed(false)),
                Ok(own(None))
            );
            assert_eq!(
                create_as(&caller(role, Some("A")), requested, installed(true)),
                Ok(own(Some(app("A"))))
            );
        }
    }
}

#[test]
fn w7_only_an_admin_without_an_app_creates_for_another_user() {
    let other = Some(user(COLLEAGUE));
    let created = create_as(&caller(UserRole::Admin, None), other, installed(false));
    assert_eq!(
        created,
        Ok(NewOwnership {
            owner: user(ME),
            user: user(COLLEAGUE),
            app: None
        })
    );
    for (role, through) in [
        (UserRole::Regular, None),
        (UserRole::Regular, Some("A")),
        (UserRole::Admin, Some("A")),
    ] {
        let denied = create_as(&caller(role, through), other, installed(true));
        assert!(
            matches!(denied, Err(Denial::Forbidden(_))),
            "{role:?} {through:?}: {denied:?}"
        );
    }
}

#[test]
fn w2_creation_needs_the_scope_then_the_installation() {
    for (name, caller, there) in callers() {
        let expected = match name {
            _ if name.ends_with("no admin scope") || name.ends_with("reads only") => {
                Some(Denial::MissingScope)
            }
            "regular, admin scope alone" | "platform" | "operator" => Some(Denial::MissingScope),
            _ if name.ends_with("not installed") => Some(Denial::AppNotInstalled),
            _ => None,
        };
        assert_eq!(
            create_as(&caller, None, installed(there)).err(),
            expected,
            "{name}"
        );
    }
}

/// Every combination of scopes: through an app only `admin` counts, without one it never does.
#[test]
fn w2_through_an_app_admin_alone_decides() {
    for combination in 0..8_u8 {
        let [reads, writes, admin] = [1, 2, 4].map(|bit| combination & bit != 0);
        for role in [UserRole::Regular, UserRole::Admin] {
            let through = scoped(role, Some("A"), (reads, writes, admin));
            assert_eq!(read(&through).is_ok(), admin);
            assert_eq!(write(&through, installed(true)).is_ok(), admin);
            let own = scoped(role, None, (reads, writes, admin));
            assert_eq!(read(&own).is_ok(), reads);
            assert_eq!(write(&own, installed(false)).is_ok(), writes);
        }
    }
}

#[test]
fn e2_w2_permitted_users_and_installed_apps_see_an_event() {
    use UserRole::{Admin, Regular};
    let of = |company: i64, permitted: Option<&[i64]>| Event {
        company: CompanyId::new(company).unwrap(),
        permitted: permitted.map(|users| users.iter().copied().map(user).collect()),
        ..samples::event()
    };
    let events = [
        of(1, None),
        of(1, Some(&[ME])),
        of(1, Some(&[COLLEAGUE])),
        of(1, Some(&[])),
        of(2, None),
        of(2, Some(&[ME])),
    ];
    for (caller, there, expected) in [
        (caller(Regular, None), false, "++----"),
        (caller(Admin, None), false, "++++--"),
        (caller(Regular, Some("A")), true, "++----"),
        // The role adds nothing through an app.
        (caller(Admin, Some("A")), true, "++----"),
        (caller(Regular, Some("A")), false, "------"),
        (caller(Admin, Some("A")), false, "------"),
        (Caller::Platform, false, "++++++"),
        (Caller::Operator, false, "++++++"),
    ] {
        for state in STATES {
            let cell = |event| {
                if sees_event(&caller, event, app_access(there, state)) {
                    '+'
                } else {
                    '-'
                }
            };
            let seen: String = events.iter().map(cell).collect();
            assert_eq!(seen, expected, "{caller:?}, installed: {there}, {state:?}");
        }
    }
}
