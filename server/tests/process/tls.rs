//! TLS to Postgres, with clusters that require it: every command of ours connects wherever `psql` can, and a refusal
//! says why.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use diesel_async::{AsyncConnection, RunQueryDsl};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tenterhook_harness::realtime;
use tenterhook_lab::durable_postgres::DurablePostgres;
use tenterhook_store::{Conn, Protection};

use super::callers::{folder, production};

const PASSWORD: &str = "a password of the database";
/// The name in the server's certificate, which does not have its address.
const HOST: &str = "db.example.test";

/// An authority that signs certificates, and its own certificate as a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("what the test stands on can be made");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(
            params,
            KeyPair::generate().expect("what the test stands on can be made"),
        )
        .expect("what the test stands on can be made");
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, issuer.pem()).expect("what the test stands on can be made");
        Self { issuer, file }
    }

    /// A certificate with these names, and its key.
    fn sign(&self, names: &[&str], common: Option<&str>) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("what the test stands on can be made");
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        let key = KeyPair::generate().expect("what the test stands on can be made");
        (
            params
                .signed_by(&key, &self.issuer)
                .expect("what the test stands on can be made")
                .pem(),
            key.serialize_pem(),
        )
    }
}

/// A Postgres with TLS on an address of its own. Its `pg_hba.conf` decides who may connect.
struct Server {
    postgres: DurablePostgres,
    at: Ipv4Addr,
    home: TempDir,
    authority: Authority,
    /// Number of times that its configuration was read, from 1.
    read: AtomicU32,
}

impl Server {
    async fn start(names: &[&str], common: Option<&str>) -> Self {
        let home = folder();
        // The port is fixed, so each server needs its own address; loopback has enough of them.
        let [a, b, c]: [u8; 3] = rand::random();
        let at = Ipv4Addr::new(127, a, b, c.clamp(1, 254));
        let postgres = DurablePostgres::create(
            home.path(),
            home.path(),
            Vec::new(),
            &[format!("listen_addresses={at}")],
        )
        .await
        .expect("what the test stands on can be made");
        let authority = Authority::new(home.path(), "authority");
        let (certificate, key) = authority.sign(names, common);
        let server = Self {
            postgres,
            at,
            home,
            authority,
            read: AtomicU32::new(1),
        };
        server.keep("server.crt", &certificate);
        server.keep("server.key", &key);
        let ca = fs::read_to_string(&server.authority.file).expect("what the test stands on can be made");
        server.keep("root.crt", &ca);
        server
            .tell(
                "alter system set ssl = on;
                 alter system set ssl_ca_file = 'root.crt'",
            )
            .await;
        server
            .tell(&format!("create role app login superuser password '{PASSWORD}'"))
            .await;
        server.admit(&["hostssl all all all scram-sha-256"]).await;
        server
    }

    /// Writes a file into the postgres's data folder.
    fn keep(&self, name: &str, text: &str) {
        let data = self.home.path().join("data");
        let owner = fs::metadata(&data).expect("what the test stands on can be made");
        let path = data.join(name);
        fs::write(&path, text).expect("what the test stands on can be made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .expect("what the test stands on can be made");
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("what the test stands on can be made");
    }

    async fn tell(&self, sql: &str) {
        let client = self
            .postgres
            .look()
            .await
            .expect("what the test stands on can be made");
        for statement in sql.split(';') {
            client
                .batch_execute(statement)
                .await
                .expect("what the test stands on can be made");
        }
    }

    /// Replaces `pg_hba.conf`, and waits until it is in effect.
    async fn admit(&self, lines: &[&str]) {
        self.keep(
            "pg_hba.conf",
            &format!("local all all trust\n{}\n", lines.join("\n")),
        );
        // The value of an unrelated setting shows which configuration is in effect.
        let mark = format!("{}ms", self.read.fetch_add(1, Ordering::SeqCst));
        self.tell(&format!(
            "alter system set log_autovacuum_min_duration = '{mark}'; select pg_reload_conf()"
        ))
        .await;
        realtime::eventually("the server has read its configuration", async || {
            let client = self
                .postgres
                .look()
                .await
                .expect("what the test stands on can be made");
            let row = client.query_one("show log_autovacuum_min_duration", &[]).await;
            row.expect("what the test stands on can be made")
                .get::<_, String>(0)
                == mark
        })
        .await;
    }

    fn url(&self, parameters: &str) -> String {
        format!(
            "postgres://app:{}@{HOST}/tenterhook?hostaddr={}&{parameters}",
            PASSWORD.replace(' ', "%20"),
            self.at
        )
    }

    fn roots(&self) -> String {
        format!("sslrootcert={}", self.authority.file.display())
    }

    async fn connect(&self, parameters: &str) -> Result<Protection, String> {
        match Conn::establish(&self.url(parameters)).await {
            Ok(conn) => Ok(conn.protection().clone()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn encrypted(connected: Result<Protection, String>) -> (String, &'static str) {
    match connected {
        Ok(Protection::Tls {
            protocol, checked, ..
        }) => (protocol, checked),
        other => panic!("not encrypted: {other:?}"),
    }
}

/// The server's `pg_hba.conf` has only `hostssl` lines. Every `sslmode` is tried.
#[tokio::test(flavor = "multi_thread")]
async fn each_sslmode_does_what_libpq_does() {
    let server = Server::start(&[HOST], None).await;
    let roots = server.roots();
    for (parameters, checked) in [
        ("sslmode=require".to_owned(), "certificate not verified"),
        (String::new(), "certificate not verified"),
        ("sslmode=prefer".to_owned(), "certificate not verified"),
        ("sslmode=allow".to_owned(), "certificate not verified"),
        (
            format!("sslmode=require&{roots}"),
            "certificate verified, not the host name",
        ),
        (
            format!("sslmode=verify-ca&{roots}"),
            "certificate verified, not the host name",
        ),
        (
            format!("sslmode=verify-full&{roots}"),
            "certificate and host name verified",
        ),
        (
            format!("sslmode=verify-full&{roots}&channel_binding=require"),
            "certificate and host name verified",
        ),
        (
            format!("sslmode=verify-full&{roots}&ssl_min_protocol_version=TLSv1.3"),
            "certificate and host name verified",
        ),
    ] {
        assert_eq!(
            encrypted(server.connect(&parameters).await),
            ("TLSv1.3".to_owned(), checked),
            "{parameters}"
        );
    }
    let said = server.connect("sslmode=disable").await.unwrap_err();
    assert!(
        said.contains("without encryption (sslmode=disable)") && said.contains("sslmode=require"),
        "{said}"
    );

    // The database reports the same about the connection.
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        ssl: bool,
    }
    let mut conn = Conn::establish(&server.url("sslmode=require")).await.unwrap();
    let row: Row = diesel::sql_query("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        .get_result(&mut conn)
        .await
        .unwrap();
    assert!(row.ssl);
}

/// A server with a wrong certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_authority_and_a_wrong_name_have_clear_errors() {
    let server = Server::start(&["other.example.test"], None).await;
    let other = Authority::new(server.home.path(), "another");
    let other = format!("sslrootcert={}", other.file.display());
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = server
            .connect(&format!("sslmode={mode}&{other}"))
            .await
            .unwrap_err();
        assert!(
            said.contains("not signed by an authority of `sslrootcert`"),
            "{mode}: {said}"
        );
    }
    let roots = server.roots();
    encrypted(server.connect(&format!("sslmode=verify-ca&{roots}")).await);
    let said = server
        .connect(&format!("sslmode=verify-full&{roots}"))
        .await
        .unwrap_err();
    assert!(
        said.contains("not for db.example.test") && said.contains("other.example.test"),
        "{said}"
    );

    // Addresses are checked like names, and a common name if there are no other names.
    server.certify(&[&server.at.to_string()], None).await;
    let by_address = server.url("").replace(HOST, &server.at.to_string());
    Conn::establish(&format!("{by_address}sslmode=verify-full&{roots}"))
        .await
        .unwrap();
    server.certify(&[], Some(HOST)).await;
    encrypted(server.connect(&format!("sslmode=verify-full&{roots}")).await);
    server.certify(&[], Some("other.example.test")).await;
    assert!(
        server
            .connect(&format!("sslmode=verify-full&{roots}"))
            .await
            .is_err()
    );
}

impl Server {
    /// Gives the server another certificate.
    async fn certify(&self, names: &[&str], common: Option<&str>) {
        let (certificate, key) = self.authority.sign(names, common);
        self.keep("server.crt", &certificate);
        self.keep("server.key", &key);
        self.admit(&["hostssl all all all scram-sha-256"]).await;
    }
}

/// A certificate instead of a password.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_works_and_its_key_must_be_private() {
    let server = Server::start(&[HOST], None).await;
    server
        .admit(&["hostssl all all all cert clientcert=verify-full"])
        .await;
    let (certificate, key) = server.authority.sign(&[], Some("app"));
    let (cert, private) = (
        server.home.path().join("app.crt"),
        server.home.path().join("app.key"),
    );
    fs::write(&cert, certificate).unwrap();
    fs::write(&private, key).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    let shown = format!(
        "sslmode=verify-full&{}&sslcert={}&sslkey={}",
        server.roots(),
        cert.display(),
        private.display()
    );
    encrypted(server.connect(&shown).await);
    let said = server
        .connect(&format!("sslmode=verify-full&{}", server.roots()))
        .await
        .unwrap_err();
    assert!(said.contains("certificate"), "{said}");

    fs::set_permissions(&private, fs::Permissions::from_mode(0o644)).unwrap();
    let said = server.connect(&shown).await.unwrap_err();
    assert!(said.contains("`sslkey`") && said.contains("chmod 600"), "{said}");
    let said = server
        .connect(&format!("sslmode=require&sslcert={}", cert.display()))
        .await
        .unwrap_err();
    assert!(said.contains("`sslcert` and `sslkey` belong together"), "{said}");
}

/// `migrate`, `serve`, `doctor`, `reseal` and `distribute` connect in the same way, and report how the connection
/// is protected.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_connects_with_tls_and_reports_it() {
    let server = Server::start(&[HOST], None).await;
    let keys = folder();
    let program = production(
        keys.path(),
        &server.url(&format!("sslmode=verify-full&{}", server.roots())),
    );
    for command in ["migrate", "reseal"] {
        let output = program.command_instead(command).run().await.unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let process = program.serve().await.unwrap();
    let line = "the connection to the database is encrypted (TLSv1.3, TLS13_";
    assert!(process.printed().contains(line), "{}", process.printed());
    let output = program.command_instead("doctor").run().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("ok    connection: encrypted (TLSv1.3"), "{said}");
    assert!(said.contains("certificate and host name verified"), "{said}");
    let output = program
        .command_instead("distribute")
        .argument("--dry-run")
        .run()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    drop(process);

    // `prefer` uses what the server offers, and reports what it got.
    server.admit(&["host all all all scram-sha-256"]).await;
    let program = production(keys.path(), &server.url("sslmode=prefer"));
    let process = program.serve().await.unwrap();
    assert!(
        process.printed().contains("certificate not verified"),
        "{}",
        process.printed()
    );
    drop(process);
    server
        .tell("alter system set ssl = off; select pg_reload_conf()")
        .await;
    realtime::eventually("the server has no TLS any more", async || {
        server.connect("sslmode=require").await.is_err()
    })
    .await;
    let process = program.serve().await.unwrap();
    let line = "the connection to the database is not encrypted (sslmode=prefer, and the server has no TLS)";
    assert!(process.printed().contains(line), "{}", process.printed());
    let said = server.connect("sslmode=require").await.unwrap_err();
    assert!(
        said.contains("has no TLS, and sslmode=require needs it"),
        "{said}"
    );
}
