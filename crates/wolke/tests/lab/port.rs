//! Ports for programs that end and come back: the kernel gives them to nobody else meanwhile.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those the kernel chooses from by itself (`ip_local_port_range`).
const FIRST: u16 = 10_240;
/// For one test process.
const EACH: u16 = 16;
/// Processes whose numbers follow upon each other have different ones.
const PROCESSES: u32 = 1_400;

/// A port at which nobody listens, another one each time.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = FIRST + (std::process::id() % PROCESSES) as u16 * EACH;
    let mut ports = (0..EACH).map(|_| own + NEXT.fetch_add(1, Ordering::Relaxed) % EACH);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("one of these ports is free")
}
