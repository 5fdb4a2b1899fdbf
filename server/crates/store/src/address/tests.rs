use std::path::Path;

use rstest::rstest;
use tokio_postgres::config::Host;

use super::*;

fn tcp(address: &Address) -> Vec<String> {
    address
        .config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        })
        .collect()
}

fn refused(text: &str) -> String {
    match Address::parse(text) {
        Err(StoreError::Address(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("taken: {text}"),
    }
}

#[rstest]
#[case("postgres://u:p%40ss@one:5433,two/db?sslmode=disable&application_name=a%20b")]
#[case("host=one,two port=5433,5432 user=u password='p@ss' dbname=db sslmode=disable application_name='a b'")]
#[case(
    "  user = u password=p@ss host='one,two' port=5433, sslmode=disable dbname = 'db' application_name=a\\ b "
)]
fn both_forms_say_the_same(#[case] text: &str) {
    let address = Address::parse(text).unwrap();
    assert_eq!(tcp(&address), ["one", "two"]);
    assert_eq!(address.config.get_ports(), [5433, 5432]);
    assert_eq!(address.config.get_user(), Some("u"));
    assert_eq!(address.config.get_password(), Some(b"p@ss".as_slice()));
    assert_eq!(address.config.get_dbname(), Some("db"));
    assert_eq!(address.config.get_application_name(), Some("a b"));
    assert_eq!(address.tls.mode, Mode::Disable);
}

#[rstest]
#[case("postgres:///db?host=/run/postgresql", "/run/postgresql")]
#[case("postgresql://u@%2Frun%2Fpostgresql/db", "/run/postgresql")]
#[case("postgres://[::1]:5433/db", "::1")]
#[case("postgres://h", "h")]
#[case("postgres://u:a?c@h/db", "h")]
#[case("postgres://u:a/b@h/db", "h")]
#[case("postgres://h/db?options=-c%20x%3Da@b", "h")]
#[case("host='/run/post gres'", "/run/post gres")]
fn hosts_are_found(#[case] text: &str, #[case] host: &str) {
    assert_eq!(tcp(&Address::parse(text).unwrap()), [host]);
}

/// The error names the parameter and says what to do.
#[rstest]
#[case("postgres://h/d?pgbouncer=true", "`pgbouncer` is not supported: leave it out")]
#[case(
    "postgres://h/d?gssencmode=require",
    "`gssencmode` is not supported: use `disable` or `prefer`"
)]
#[case("host=h sslcrl=/x", "`sslcrl` is not supported")]
#[case("host=h sslpasword=x", "`sslpasword` is not a parameter")]
#[case(
    "postgres://h/d?sslmode=verify_full",
    "`sslmode` must be one of disable, allow, prefer, require, verify-ca, verify-full"
)]
#[case("host=h keepalives_count=three", "`keepalives_count` must be a whole number")]
#[case("host=h port=70000", "`port` must be a number")]
#[case(
    "host=h tcp_user_timeout=10",
    "`tcp_user_timeout` must be at least 1000 milliseconds"
)]
#[case("host=h tcp_user_timeout=999", "`tcp_user_timeout`")]
#[case(
    "host=h tcp_user_timeout=3600001",
    "`tcp_user_timeout` must be at most 3600000"
)]
#[case("host=h connect_timeout=61", "`connect_timeout` must be at most 60")]
#[case("host=h keepalives_idle=3601", "`keepalives_idle` must be at most 3600")]
#[case(
    "host=h keepalives_interval=3601",
    "`keepalives_interval` must be at most 3600"
)]
#[case("host=h keepalives_count=128", "`keepalives_count` must be at most 127")]
#[case("host=a,b port=1,2,3", "`port` has 3 entries and there are 2 hosts")]
#[case("host=a,b hostaddr=127.0.0.1", "`host` has 2 entries and `hostaddr` 1")]
#[case("host=h hostaddr=nowhere", "`hostaddr` must be one or more IP addresses")]
#[case("dbname=d", "has no `host`")]
#[case("host=h sslmode=verify-full", "needs `sslrootcert`")]
#[case(
    "host=h sslmode=require sslrootcert=system",
    "sslmode=verify-full instead of require"
)]
#[case(
    "host=h sslmode=verify-ca sslrootcert=/nowhere/ca.pem",
    "`sslrootcert`: cannot read /nowhere/ca.pem"
)]
#[case("host=h sslcert=/x", "`sslcert` and `sslkey` belong together")]
#[case(
    "host=h sslmode=prefer sslnegotiation=direct",
    "`sslnegotiation=direct` needs"
)]
#[case(
    "host=h sslmode=disable channel_binding=require",
    "`channel_binding=require` needs TLS"
)]
#[case("h:5432/db", "neither a URL (postgres://…) nor pairs")]
#[case(
    "host=h password='abc",
    "the value of `password` has no closing quotation mark"
)]
#[case("postgres://h/d?sslmode", "has no `=`")]
fn the_error_message_names_an_unusable_parameter(#[case] text: &str, #[case] said: &str) {
    let why = refused(text);
    assert!(why.contains(said), "{why}");
}

/// Each at its limit.
#[test]
fn connection_limits_may_have_their_greatest_values() {
    let address = Address::parse(
        "host=h connect_timeout=60 keepalives_idle=3600 keepalives_interval=3600 keepalives_count=127 \
         tcp_user_timeout=3600000",
    )
    .unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(address.keepalive, Some((hour, hour, 127)));
    assert_eq!(address.connect_within, Duration::from_secs(60));
}

/// Strings for other clients contain these parameters. Those about keepalives are used; `gssencmode=disable` changes
/// nothing.
#[test]
fn parameters_of_other_clients_are_accepted() {
    let address =
        Address::parse("postgres://h/d?keepalives_count=7&gssencmode=disable&keepalives_idle=0").unwrap();
    assert_eq!(address.keepalive, Some((KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, 7)));
    assert_eq!(
        Address::parse("host=h keepalives_retries=7")
            .unwrap()
            .keepalive
            .unwrap()
            .2,
        7
    );
    assert_eq!(Address::parse("host=h keepalives=0").unwrap().keepalive, None);
}

/// Sockets have limits of seconds unless the string sets others.
#[test]
fn socket_limits_are_seconds_by_default() {
    let address = Address::parse("host=h").unwrap();
    assert_eq!(
        address.keepalive,
        Some((Duration::from_secs(10), Duration::from_secs(5), 3))
    );
    assert_eq!(address.user_timeout, Some(Duration::from_secs(15)));
    assert_eq!(address.connect_within, Duration::from_secs(5));
    let address = Address::parse("host=h connect_timeout=30 tcp_user_timeout=1000").unwrap();
    assert_eq!(address.user_timeout, Some(Duration::from_secs(1)));
    assert_eq!(address.connect_within, Duration::from_secs(30));
    assert_eq!(
        Address::parse("host=h tcp_user_timeout=0").unwrap().user_timeout,
        None
    );
}

#[test]
fn the_tls_mode_follows_from_the_parameters() {
    let mode = |text: &str| read(text).map(|address| address.tls.mode);
    assert_eq!(mode("host=h"), Ok(Mode::Prefer));
    assert_eq!(mode("host=h sslrootcert=system"), Ok(Mode::VerifyFull));
    assert_eq!(mode("host=h sslrootcert="), Ok(Mode::Prefer));
    assert_eq!(mode("host=h sslmode=allow"), Ok(Mode::Allow));
    let address = read("host=h sslmode=require sslcert=/c sslkey=/k").unwrap();
    assert_eq!(address.tls.certificate.as_deref(), Some(Path::new("/c")));
}

#[rstest]
#[case("postgres://u:hunter2@h/d?nonsense=hunter2")]
#[case("host=h password=hunter2 nonsense=hunter2")]
#[case("host=h password='hunter2")]
#[case("postgres://u:hunter2?x=1")]
#[case("host=h password=a hunter2=b!")]
fn no_message_has_a_secret(#[case] text: &str) {
    let why = match Address::parse(text) {
        Err(error) => error.to_string(),
        Ok(_) => return,
    };
    assert!(!why.contains("hunter2") || why.contains("`hunter2`"), "{why}");
}
