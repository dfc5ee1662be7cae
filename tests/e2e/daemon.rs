//! A running `breakglassd`.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    process::ExitStatus,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use testkit::Process;

use crate::world::{DEADLINE, World};

/// A process that has said that it is ready.
pub struct Daemon {
    pub process: Process,
}

impl World {
    /// Starts the daemon and waits until it says that it is ready.
    pub fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// The same with more environment.
    pub fn start_with(&self, env: &[(&str, &str)]) -> Daemon {
        for _ in 0..5 {
            match self.try_start(env) {
                Ok(daemon) => return daemon,
                // Between finding a port free and using it, another process took it.
                Err(log) if log.contains("cannot be listened on") => self.other_ports(),
                Err(log) => panic!("breakglassd did not start:\n{log}"),
            }
        }
        panic!("no port stayed free five times");
    }

    /// Starts the daemon; what it logged, if it ends instead of becoming ready.
    pub fn try_start(&self, env: &[(&str, &str)]) -> Result<Daemon, String> {
        static STARTS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("breakglassd-{}", STARTS.fetch_add(1, Ordering::Relaxed));
        let notify = self.path(&format!("{name}.sock"));
        let socket = UnixDatagram::bind(&notify).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut command = self.breakglassd();
        command.env("NOTIFY_SOCKET", &notify).envs(env.iter().copied());
        let mut process = Process::spawn(&name, self.dir.path(), &mut command);
        let (begun, mut message) = (Instant::now(), [0; 64]);
        while begun.elapsed() < DEADLINE {
            match socket.recv(&mut message) {
                Ok(length) if message[..length].starts_with(b"READY=1") => return Ok(Daemon { process }),
                _ if process.exited().is_some() => return Err(process.log()),
                _ => {}
            }
        }
        panic!("breakglassd was not ready after {DEADLINE:?}:\n{}", process.log());
    }
}

impl Daemon {
    /// Ends it as an operator does.
    pub fn stop(mut self) -> ExitStatus {
        self.process.terminate(DEADLINE)
    }

    /// Ends it as a power cut does.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

/// `GET path` over plain HTTP: the status and the body.
pub fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}
