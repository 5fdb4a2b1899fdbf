use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A machine made of folders. A program is a file whose text is its version.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, dir: &str, version: &str) -> Self {
        let dir = self.path(dir);
        fs::create_dir_all(&dir).unwrap();
        for program in ["initdb", "postgres"] {
            fs::write(dir.join(program), format!("{program} (PostgreSQL) {version}")).unwrap();
        }
        self
    }

    /// As on Debian: a link to `postgres` only, in a folder that is in PATH.
    fn linked(self, from: &str, to: &str) -> Self {
        fs::create_dir_all(self.path(from)).unwrap();
        symlink(self.path(to).join("postgres"), self.path(from).join("postgres")).unwrap();
        self
    }

    fn path(&self, dir: &str) -> PathBuf {
        // The temporary folder itself may be behind a link, as on macOS.
        fs::canonicalize(self.0.path()).unwrap().join(dir)
    }

    fn places(&self, path: &[&str], pg_config: Option<&str>) -> Places {
        Places {
            root: self.path(""),
            path: std::env::join_paths(path.iter().map(|dir| self.path(dir))).unwrap(),
            pg_config: pg_config.map(|dir| self.path(dir)),
        }
    }

    fn chosen(&self, places: &Places, written_by: Option<u32>) -> Result<String, Vec<String>> {
        let read = |dir: &Path| {
            Version::parse(&fs::read_to_string(dir.join("postgres")).unwrap()).ok_or("?".to_owned())
        };
        choose(&places.candidates(), written_by, &read).map(|binaries| {
            let dir = binaries.dir.strip_prefix(self.path("")).unwrap().to_owned();
            format!("{} {}", dir.display(), binaries.version)
        })
    }
}

#[test]
fn the_search_order_is_path_pg_config_then_highest_installed() {
    let machine = Machine::new()
        .with("opt/own/bin", "16.1")
        .linked("usr/bin", "opt/own/bin")
        .with("opt/configured/bin", "17.2")
        .with("usr/lib/postgresql/9.6/bin", "9.6.24")
        .with("usr/lib/postgresql/15/bin", "15.18 (Debian 15.18-0+deb12u1)")
        .with("usr/lib/postgresql/18/bin", "18beta1")
        .with("usr/pgsql-17/bin", "17.5")
        .with("opt/homebrew/opt/postgresql@17/bin", "17.6")
        .with("usr/local/opt/postgresql@16/bin", "16.6")
        .with("home/linuxbrew/.linuxbrew/opt/postgresql@15/bin", "15.6")
        .with("Applications/Postgres.app/Contents/Versions/17/bin", "17.7");
    let places = machine.places(&["bin", "usr/bin"], Some("opt/configured/bin"));
    let candidates = places.candidates();
    let order: Vec<_> = candidates
        .iter()
        .map(|dir| dir.strip_prefix(machine.path("")).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        order,
        [
            "opt/own/bin",
            "opt/configured/bin",
            "usr/lib/postgresql/18/bin",
            "usr/lib/postgresql/15/bin",
            "usr/lib/postgresql/9.6/bin",
            "usr/pgsql-17/bin",
            "opt/homebrew/opt/postgresql@17/bin",
            "usr/local/opt/postgresql@16/bin",
            "home/linuxbrew/.linuxbrew/opt/postgresql@15/bin",
            "Applications/Postgres.app/Contents/Versions/17/bin",
        ]
    );
    assert_eq!(machine.chosen(&places, None).unwrap(), "opt/own/bin 16.1");
}

#[test]
fn old_and_incomplete_installations_are_skipped() {
    let machine = Machine::new()
        .with("opt/old/bin", "14.9")
        .with("usr/lib/postgresql/15/bin", "15.0");
    fs::create_dir_all(machine.path("opt/half/bin")).unwrap();
    fs::write(
        machine.path("opt/half/bin/postgres"),
        "postgres (PostgreSQL) 18.0",
    )
    .unwrap();
    let places = machine.places(&["opt/half/bin", "opt/old/bin"], Some("opt/missing/bin"));
    assert_eq!(
        machine.chosen(&places, None).unwrap(),
        "usr/lib/postgresql/15/bin 15.0"
    );

    fs::remove_dir_all(machine.path("usr")).unwrap();
    let tried = machine.chosen(&places, None).unwrap_err();
    let reasons: Vec<&str> = tried
        .iter()
        .map(|line| line.split_once(": ").unwrap().1)
        .collect();
    assert_eq!(
        reasons,
        ["has no initdb", "Postgres 14.9 is too old", "has no initdb"]
    );
}

#[test]
fn data_decides_the_version() {
    let machine = Machine::new()
        .with("opt/new/bin", "18.1")
        .with("usr/lib/postgresql/15/bin", "15.18");
    let places = machine.places(&["opt/new/bin"], None);
    assert_eq!(
        machine.chosen(&places, Some(15)).unwrap(),
        "usr/lib/postgresql/15/bin 15.18"
    );
    assert_eq!(machine.chosen(&places, Some(17)).unwrap_err().len(), 2);
}

#[test]
fn a_configured_folder_must_be_usable() {
    let machine = Machine::new().with("opt/old/bin", "14.9");
    let error = at(&machine.path("opt/none"), None, None)
        .unwrap_err()
        .about(Path::new("/data"), None)
        .to_string();
    assert!(
        error.contains("PG_BIN_DIR=") && error.contains("has no initdb"),
        "{error}"
    );
}

#[test]
fn versions_are_read() {
    let parse = |text| Version::parse(text).map(|version| (version.major, version.text));
    assert_eq!(
        parse("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
        Some((15, "15.18".to_owned()))
    );
    assert_eq!(
        parse("postgres (PostgreSQL) 19devel"),
        Some((19, "19devel".to_owned()))
    );
    assert_eq!(parse("postgres: not found"), None);
}
