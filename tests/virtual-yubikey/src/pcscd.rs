//! A pcscd of one's own: private configuration, private driver copies, private socket.
//!
//! The daemon has its socket's directory compiled in, so each runs in a mount namespace where /run is another
//! directory. It ends with its parent: a shell beside it waits for the end of a pipe that only the parent holds.
//!
//! - Each reader entry needs its own copy of the driver: copies in one process share no static state, one does.
//! - vpcd listens on all interfaces without authentication: a machine for tests, nothing else.

use crate::StackError;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Clients look for readers whose name contains "Yubico YubiKey".
const READER: &str = "Yubico YubiKey CCID";
const DRIVERS: [&str; 2] =
    ["/usr/lib/pcsc/drivers/serial/libifdvpcd.so", "/usr/local/lib/pcsc/drivers/serial/libifdvpcd.so"];
const POLL: Duration = Duration::from_millis(10);

/// The private daemon; ends when dropped.
pub(crate) struct Pcscd {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Pcscd {
    /// Starts a daemon under `dir` with one two-slot reader per port (a port and the one after it).
    pub fn start(dir: &Path, ports: &[u16]) -> Result<Self, StackError> {
        let conf = fresh(dir.join("conf"))?;
        let lib = fresh(dir.join("lib"))?;
        let run = fresh(dir.join("run"))?;
        let home = fresh(run.join("pcscd"))?;
        let driver = DRIVERS.iter().map(Path::new).find(|path| path.exists()).ok_or(StackError::NoDriver)?;
        for (index, port) in ports.iter().enumerate() {
            let copy = lib.join(format!("libifdvpcd-{index}.so"));
            fs::copy(driver, &copy).map_err(StackError::io("copy the reader driver to", &copy))?;
            let entry = format!(
                "FRIENDLYNAME \"{READER} {index:02}\"\nDEVICENAME /dev/null:0x{port:04X}\nLIBPATH {}\nCHANNELID 0x{port:04X}\n",
                copy.display()
            );
            let file = conf.join(format!("reader-{index}.conf"));
            fs::write(&file, entry).map_err(StackError::io("write", &file))?;
        }
        let log = dir.join("pcscd.log");
        let child = spawn(&run, &conf, &log)?;
        let daemon = Self { child, socket: home.join("pcscd.comm"), log };
        // sun_path holds 108 bytes with the final zero.
        if daemon.socket.as_os_str().len() > 107 {
            return Err(StackError::LongPath { socket: daemon.socket.clone() });
        }
        Ok(daemon)
    }

    /// The socket that clients find through `PCSCLITE_CSOCK_NAME`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until the daemon shows `cards` cards in its readers.
    pub fn wait_for_cards(&mut self, cards: usize, deadline: Duration) -> Result<(), StackError> {
        let started = Instant::now();
        loop {
            let seen = cards_in_readers(&self.socket).unwrap_or(0);
            if seen >= cards && self.socket.exists() {
                return Ok(());
            }
            if started.elapsed() > deadline || matches!(self.child.try_wait(), Ok(Some(_))) {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(StackError::NotReady { seen, cards, log });
            }
            // The service tells nobody when it is ready: asking again is all that one can do.
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Pcscd {
    fn drop(&mut self) {
        // The shell beside the daemon sees the end of its input, ends the daemon, and then itself.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn spawn(run: &Path, conf: &Path, log: &Path) -> Result<Child, StackError> {
    const SCRIPT: &str = r#"
        mount --bind "$1" /run || exit 3
        pcscd -f -e -c "$2" </dev/null &
        daemon=$!
        cat >/dev/null
        kill "$daemon" 2>/dev/null
        wait "$daemon"
    "#;
    let output = File::create(log).map_err(StackError::io("write", log))?;
    let errors = output.try_clone().map_err(StackError::io("write", log))?;
    // An ordinary user becomes root of a namespace of his own to be allowed the mount.
    let user = fs::metadata("/proc/self").map_err(StackError::io("read", Path::new("/proc/self")))?.uid();
    Command::new("unshare")
        .arg(if user == 0 { "-m" } else { "-Urm" })
        .args(["sh", "-c", SCRIPT, "virtual-yubikey-pcscd"])
        .args([run, conf])
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(StackError::io("run unshare", log))
}

/// Two neighbouring free ports for each of `entries` readers, below the range the kernel hands out by itself.
pub(crate) fn free_ports(entries: usize) -> Result<Vec<u16>, StackError> {
    let mut ports: Vec<u16> = Vec::new();
    for _ in 0..1000 {
        if ports.len() == entries {
            return Ok(ports);
        }
        let random = getrandom::u32().map_err(|error| StackError::Random(error.to_string()))?;
        let port = 20_000 + u16::try_from(random % 6_000).unwrap_or(0) * 2;
        let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if !ports.contains(&port) && free(port) && free(port + 1) {
            ports.push(port);
        }
    }
    Err(StackError::NoPorts)
}

/// Asks the daemon how many of its readers hold a card that has answered to reset. It speaks pcscd's client protocol
/// (`winscard_msg.h`, major version 4) because libpcsclite takes its socket from the environment of the process.
fn cards_in_readers(socket: &Path) -> io::Result<usize> {
    const READER_STATES: u32 = 0x12;
    const READERS: usize = 16;
    const STATE_SIZE: usize = 184;
    const ATR_LENGTH_AT: usize = 176;
    let mut stream = greet(socket)?;
    stream.write_all(&words(&[0, READER_STATES]))?;
    let mut states = vec![0; READERS * STATE_SIZE];
    stream.read_exact(&mut states)?;
    Ok(states
        .chunks_exact(STATE_SIZE)
        .filter_map(|state| state.get(ATR_LENGTH_AT..)?.first_chunk())
        // A reader that has not been looked at yet has an impossible length.
        .filter(|length| (1..=33).contains(&u32::from_ne_bytes(**length)))
        .count())
}

/// Opens a conversation in the daemon's minor version: it refuses another, and says which is its own.
fn greet(socket: &Path) -> io::Result<UnixStream> {
    const VERSION: u32 = 0x11;
    const MAJOR: u32 = 4;
    let mut minor = 4;
    for _ in 0..2 {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(&words(&[12, VERSION, MAJOR, minor, 0]))?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        let [_, _, _, _, m0, m1, m2, m3, r0, r1, r2, r3] = answer;
        if [r0, r1, r2, r3] == [0; 4] {
            return Ok(stream);
        }
        minor = u32::from_ne_bytes([m0, m1, m2, m3]);
    }
    Err(io::Error::other("pcscd speaks another protocol"))
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// An empty directory; what an earlier run left there is gone.
fn fresh(path: PathBuf) -> Result<PathBuf, StackError> {
    if path.exists() {
        fs::remove_dir_all(&path).map_err(StackError::io("clear", &path))?;
    }
    fs::create_dir_all(&path).map_err(StackError::io("make", &path))?;
    Ok(path)
}
