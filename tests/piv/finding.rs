//! Which keys are plugged in, and keys that come and go.

use super::{DEADLINE, enrolled, pin};
use breakglass::piv::{PivError, PivEvent, PivKey, Serial, Watch, devices, scan};
use std::time::{Duration, Instant};
use virtual_yubikey::harness::in_stack;
use virtual_yubikey::{CardSpec, TouchMode, Version};

/// Waits until exactly these keys are found.
pub(crate) fn wait_for(serials: &[u32]) {
    testkit::wait_for(&format!("exactly {serials:?}"), DEADLINE, || {
        let found: Vec<u32> = devices().unwrap().iter().map(|device| device.serial.0).collect();
        (found == serials).then_some(())
    });
}

#[test]
fn finds_each_key_once_with_its_firmware() {
    let cards = [5, 3, 4, 1, 2].map(|serial| {
        CardSpec::new(serial).version(if serial % 2 == 0 { Version::V5_4_3 } else { Version::V5_7_4 })
    });
    in_stack("finding::finds_each_key_once_with_its_firmware", &cards, |_| {
        let found: Vec<_> =
            devices().unwrap().iter().map(|d| format!("{} {}", d.serial, d.firmware)).collect();
        assert_eq!(found, ["1 5.7.4", "2 5.4.3", "3 5.7.4", "4 5.4.3", "5 5.7.4"]);
    });
}

#[test]
fn a_key_that_waits_for_a_touch_holds_up_nobody() {
    let test = "finding::a_key_that_waits_for_a_touch_holds_up_nobody";
    in_stack(test, &[CardSpec::new(1), CardSpec::new(2)], |stack| {
        let (slow, quick) = (enrolled(1).public_key, enrolled(2).public_key);
        stack.touch(1, TouchMode::Manual);
        let waiting =
            std::thread::spawn(move || PivKey::open(Serial(1)).unwrap().sign(&slow, &[1; 32], &pin()));
        stack.wait_until_asked(1, 1, DEADLINE);
        let started = Instant::now();
        assert!(PivKey::open(Serial(2)).unwrap().sign(&quick, &[2; 32], &pin()).is_ok());
        assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
        let seen = scan(Duration::from_millis(500)).unwrap();
        assert_eq!(seen.devices.len(), 1, "{seen:?}");
        assert_eq!(seen.busy.len(), 1, "{seen:?}");
        stack.press(1);
        assert!(waiting.join().unwrap().is_ok());
    });
}

#[test]
fn a_watch_reports_who_comes_and_goes() {
    let cards = [CardSpec::new(1), CardSpec::new(2).unplugged()];
    in_stack("finding::a_watch_reports_who_comes_and_goes", &cards, |stack| {
        let mut watch = Watch::new().unwrap();
        let mut next = || {
            watch.next(DEADLINE).unwrap().map(|event| match event {
                PivEvent::Plugged(device) => format!("+{}", device.serial),
                PivEvent::Unplugged(device) => format!("-{}", device.serial),
            })
        };
        assert_eq!(next().as_deref(), Some("+1"), "who is there at first");
        stack.plug(2);
        assert_eq!(next().as_deref(), Some("+2"));
        stack.unplug(1);
        assert_eq!(next().as_deref(), Some("-1"));
        stack.plug(1);
        assert_eq!(next().as_deref(), Some("+1"));
        assert_eq!(watch.next(Duration::from_millis(300)).unwrap(), None, "and then nothing happens");
    });
}

#[test]
fn a_key_that_another_program_holds_is_busy_not_missing() {
    let test = "finding::a_key_that_another_program_holds_is_busy_not_missing";
    in_stack(test, &[CardSpec::new(1), CardSpec::new(2)], |_| {
        let held = devices().unwrap().remove(0);
        let context = pcsc::Context::establish(pcsc::Scope::System).unwrap();
        let holder = context.connect(&held.reader, pcsc::ShareMode::Exclusive, pcsc::Protocols::T1).unwrap();
        let refused = PivKey::open(Serial(1)).unwrap_err();
        assert_eq!(refused, PivError::Busy { serial: Serial(1) });
        assert!(PivKey::open(Serial(2)).is_ok(), "the other is not");
        let late = PivKey::at(held.clone()).public_key().unwrap_err();
        assert_eq!(late, PivError::Busy { serial: Serial(1) });
        drop(holder);
        assert!(PivKey::open(Serial(1)).is_ok());
    });
}

#[test]
fn without_a_service_it_is_said_so() {
    // The child's environment points to a socket that nobody listens on.
    if std::env::var_os("PCSCLITE_CSOCK_NAME").is_none_or(|socket| socket != "/nonexistent") {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["finding::without_a_service_it_is_said_so", "--exact", "--test-threads=1"]);
        assert!(again.env("PCSCLITE_CSOCK_NAME", "/nonexistent").status().unwrap().success());
        return;
    }
    assert_eq!(devices().unwrap_err().reason(), "PIV_NO_SERVICE");
    assert_eq!(PivKey::open(Serial(1)).unwrap_err().reason(), "PIV_NO_SERVICE");
    assert!(Watch::new().is_err());
}

/// libpcsclite forgets connections without its own lock; before that was taken into account, this ended in a
/// segmentation fault one time in three.
#[test]
fn searches_side_by_side_do_not_disturb_each_other() {
    let serials: Vec<u32> = (0..6).map(|n| 10_700_000 + n).collect();
    let cards: Vec<_> = serials.iter().map(|serial| CardSpec::new(*serial)).collect();
    in_stack("finding::searches_side_by_side_do_not_disturb_each_other", &cards, |_| {
        let search = |serial: u32| {
            for _ in 0..40 {
                assert_eq!(PivKey::open(Serial(serial)).unwrap().serial().0, serial);
            }
        };
        std::thread::scope(|scope| {
            for serial in &serials {
                scope.spawn(|| search(*serial));
            }
        });
    });
}
