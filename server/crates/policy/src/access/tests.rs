//! The whole table of callers and webhooks, and what holds for every cell.

use super::*;
use crate::samples;
use tenterhook_model::ids::CompanyId;

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
        may_read: true,
        may_write: true,
        has_admin_scope: through.is_some(),
    }
}

fn caller(role: UserRole, through: Option<&str>) -> Caller {
    Caller::User(token(role, through))
}

/// Every kind of caller, by name, and whether its app is installed.
fn callers() -> Vec<(&'static str, Caller, bool)> {
    use UserRole::{Admin, Regular};
    let without = |change: fn(&mut UserCaller), role, through| {
        let mut token = token(role, through);
        change(&mut token);
        Caller::User(token)
    };
    vec![
        ("regular", caller(Regular, None), false),
        ("admin", caller(Admin, None), false),
        ("regular through A", caller(Regular, Some("A")), true),
        ("admin through A", caller(Admin, Some("A")), true),
        (
            "regular through A, not installed",
            caller(Regular, Some("A")),
            false,
        ),
        ("admin through A, not installed", caller(Admin, Some("A")), false),
        (
            "regular through A, no admin scope",
            without(|t| t.has_admin_scope = false, Regular, Some("A")),
            true,
        ),
        (
            "admin through A, no admin scope",
            without(|t| t.has_admin_scope = false, Admin, Some("A")),
            true,
        ),
        (
            "regular, admin scope",
            without(|t| t.has_admin_scope = true, Regular, None),
            false,
        ),
        (
            "regular, reads only",
            without(|t| t.may_write = false, Regular, None),
            false,
        ),
        (
            "regular through A, reads only",
            without(|t| t.may_write = false, Regular, Some("A")),
            true,
        ),
        (
            "admin, writes only",
            without(|t| t.may_read = false, Admin, None),
            false,
        ),
        ("platform", Caller::Platform, false),
        ("operator", Caller::Operator, false),
    ]
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

/// Columns: my general, a colleague's general, mine of A, mine of B, a colleague's of A, another company's.
#[test]
fn w4_w5_callers_see_only_permitted_webhooks() {
    let expected = [
        ("regular", "x....."),
        ("admin", "xx...."),
        ("regular through A", "x.x..."),
        ("admin through A", "xxx..."),
        ("regular through A, not installed", "......"),
        ("admin through A, not installed", "......"),
        ("regular through A, no admin scope", "......"),
        ("admin through A, no admin scope", "......"),
        ("regular, admin scope", "x....."),
        ("regular, reads only", "x....."),
        ("regular through A, reads only", "x.x..."),
        ("admin, writes only", "......"),
        ("platform", "......"),
        ("operator", "xxxxxx"),
    ];
    for ((name, caller, installed), (expected_name, expected)) in callers().iter().zip(expected) {
        let scope = scope(caller, *installed);
        assert_eq!(
            row(|webhook| if sees(&scope, webhook) { 'x' } else { '.' }),
            expected,
            "{name}"
        );
        assert_eq!(*name, expected_name);
    }
}

/// The same columns. U, A, P: deleted by user, admin, app. F forbidden, n not found, s lacks the scope, i app not installed.
#[test]
fn w2_w6_w7_callers_delete_only_permitted_webhooks() {
    let expected = [
        ("regular", "Unnnnn"),
        ("admin", "UAnnnn"),
        ("regular through A", "FnPnnn"),
        ("admin through A", "FFPnnn"),
        ("regular through A, not installed", "iiiiii"),
        ("admin through A, not installed", "iiiiii"),
        ("regular through A, no admin scope", "ssssss"),
        ("admin through A, no admin scope", "ssssss"),
        ("regular, admin scope", "Unnnnn"),
        ("regular, reads only", "ssssss"),
        ("regular through A, reads only", "ssssss"),
        ("admin, writes only", "UAnnnn"),
        ("platform", "ssssss"),
        ("operator", "ssssss"),
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
    for ((name, caller, installed), (expected_name, expected)) in callers().iter().zip(expected) {
        assert_eq!(
            row(|webhook| letter(delete(caller, webhook, *installed))),
            expected,
            "{name}"
        );
        assert_eq!(*name, expected_name);
    }
}

#[test]
fn change_and_replay_follow_delete_but_operators_may_replay() {
    for (name, caller, installed) in callers() {
        for webhook in webhooks() {
            let deletes = delete(&caller, &webhook, installed).map(|_| ());
            assert_eq!(change(&caller, &webhook, installed), deletes, "{name}");
            let expected = if caller == Caller::Operator {
                Ok(())
            } else {
                deletes
            };
            assert_eq!(replay(&caller, &webhook, installed), expected, "{name}");
        }
    }
}

#[test]
fn forbidden_webhooks_are_visible_and_not_found_ones_are_not() {
    for (name, caller, installed) in callers() {
        let scope = scope(&caller, installed);
        for webhook in webhooks() {
            match change(&caller, &webhook, installed) {
                Err(Denial::Forbidden(_)) => assert!(sees(&scope, &webhook), "{name}"),
                Err(Denial::NotFound) => assert!(!sees(&scope, &webhook), "{name}"),
                _ => {}
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
            assert_eq!(create_as(&caller(role, None), requested, false), Ok(own(None)));
            assert_eq!(
                create_as(&caller(role, Some("A")), requested, true),
                Ok(own(Some(app("A"))))
            );
        }
    }
}

#[test]
fn w7_only_an_admin_without_an_app_creates_for_another_user() {
    let other = Some(user(COLLEAGUE));
    let created = create_as(&caller(UserRole::Admin, None), other, false);
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
        let denied = create_as(&caller(role, through), other, true);
        assert!(
            matches!(denied, Err(Denial::Forbidden(_))),
            "{role:?} {through:?}: {denied:?}"
        );
    }
}

#[test]
fn w2_creation_needs_the_scope_then_the_installation() {
    for (name, caller, installed) in callers() {
        let expected = match name {
            _ if name.ends_with("no admin scope") || name.ends_with("reads only") => {
                Some(Denial::MissingScope)
            }
            "platform" | "operator" => Some(Denial::MissingScope),
            _ if name.ends_with("not installed") => Some(Denial::AppNotInstalled),
            _ => None,
        };
        assert_eq!(create_as(&caller, None, installed).err(), expected, "{name}");
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
    for (caller, installed, expected) in [
        (caller(Regular, None), false, "++----"),
        (caller(Admin, None), false, "++++--"),
        (caller(Regular, Some("A")), true, "++----"),
        (caller(Admin, Some("A")), true, "++++--"),
        (caller(Regular, Some("A")), false, "------"),
        (caller(Admin, Some("A")), false, "------"),
        (Caller::Platform, false, "++++++"),
        (Caller::Operator, false, "++++++"),
    ] {
        let cell = |event| {
            if sees_event(&caller, event, installed) {
                '+'
            } else {
                '-'
            }
        };
        let seen: String = events.iter().map(cell).collect();
        assert_eq!(seen, expected, "{caller:?}, installed: {installed}");
    }
}
