//! Endpoints and relays on real sockets.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Addresses, Node, RunningRelay, Tap, draw, draw_covered, until};
use mixnn_protocol::sizes::{CELL, FRAME_DATA};
use mixnn_protocol::{Cover, Kind, MessageHeader, WallClock};
use mixnn_transport::{Endpoint, EndpointConfig, Event, Limits};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(10);

fn header(step: u64) -> MessageHeader {
    MessageHeader { kind: Kind::Activation, term: 1, attempt: 0, step, micro_batch: 0 }
}

fn message(node: &Node) -> (MessageHeader, Vec<u8>) {
    loop {
        let event = node.events.recv(WAIT).expect("a message");
        if let Event::Message { message, .. } = event {
            return (message.header, message.payload);
        }
    }
}

/// A sender, relays, a receiver, and who is where.
fn network(relays: usize) -> (Node, Vec<RunningRelay>, Node, Addresses) {
    let (from, to) = (Node::start(), Node::start());
    let relays: Vec<_> = (0..relays).map(|_| RunningRelay::start(Limits::default())).collect();
    let mut nodes: Addresses = relays.iter().map(|r| (r.reference.id, r.url.clone())).collect();
    nodes.extend([(from.id, from.url.clone()), (to.id, to.url.clone())]);
    (from, relays, to, nodes)
}

fn publish(nodes: &Addresses, relays: &[RunningRelay], ends: &[&Node]) {
    relays.iter().for_each(|r| r.set_directory(nodes));
    ends.iter().for_each(|n| n.endpoint.set_directory(nodes.clone()));
}

/// Waits until every relay of a lane has taken its letter.
fn installed(relays: &[&RunningRelay], letters: u64) {
    until("letters", || relays.iter().map(|r| r.counters.letters_in.get()).sum::<u64>() >= letters);
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn messages_of_every_size_cross_one_to_five_relays() {
    for hops in 1..=5 {
        let (from, relays, to, nodes) = network(hops);
        publish(&nodes, &relays, &[&from, &to]);
        let path: Vec<_> = relays.iter().collect();
        let keys = draw(&from, to.id, &path, &[], 64);
        to.endpoint.install_receive(7, keys.receiving);
        from.endpoint.install_send(3, keys.sending, 64);
        installed(&path, hops as u64);
        for (step, size) in
            [0, 1, FRAME_DATA, FRAME_DATA + 1, 20 * FRAME_DATA].into_iter().enumerate()
        {
            let payload: Vec<u8> = (0..size).map(|i| (i * 31 + step) as u8).collect();
            from.endpoint.send(3, header(step as u64), payload.clone());
            assert_eq!(message(&to), (header(step as u64), payload), "{hops} hops, {size} bytes");
        }
        from.endpoint.shutdown(WAIT);
        to.endpoint.shutdown(WAIT);
    }
}

#[test]
fn only_cells_and_letters_of_one_size_are_on_the_wire_and_links_share_nothing() {
    let (from, relays, to, mut nodes) = network(3);
    let taps: Vec<Tap> = relays.iter().map(|r| Tap::before(&r.url)).collect();
    let last = Tap::before(&to.url);
    for (relay, tap) in relays.iter().zip(&taps) {
        nodes.insert(relay.reference.id, tap.url.clone());
    }
    nodes.insert(to.id, last.url.clone());
    publish(&nodes, &relays, &[&from, &to]);
    let path: Vec<_> = relays.iter().collect();
    let keys = draw(&from, to.id, &path, &[&relays[1]], 64);
    to.endpoint.install_receive(0, keys.receiving);
    from.endpoint.install_send(0, keys.sending, 64);
    installed(&path, 6);
    // Zeros: whatever repeats would be seen.
    from.endpoint.send(0, header(1), vec![0; 2 * FRAME_DATA]);
    assert_eq!(message(&to).1.len(), 2 * FRAME_DATA);
    let mut cells: Vec<Vec<u8>> = Vec::new();
    let mut letters = 0;
    for tap in taps.iter().chain([&last]) {
        for (path, body) in tap.requests() {
            match path.as_str() {
                "/v1/letters" => {
                    assert_eq!(body.len(), CELL);
                    letters += 1;
                }
                "/v1/cells" => {
                    assert!(!body.is_empty() && body.len() % CELL == 0, "{} bytes", body.len());
                    cells.extend(body.chunks(CELL).map(<[u8]>::to_vec));
                }
                other => panic!("a request to {other}"),
            }
        }
    }
    assert_eq!((letters, cells.len()), (6, 2 * 4));
    let mut seen = std::collections::HashSet::new();
    for window in cells.iter().flat_map(|cell| cell.windows(8)) {
        assert!(seen.insert(window), "eight bytes come twice");
    }
}

#[test]
fn a_full_lane_does_not_stop_another() {
    let (from, relays, to, nodes) = network(1);
    publish(&nodes, &relays, &[&from, &to]);
    let path = [&relays[0]];
    let narrow = draw(&from, to.id, &path, &[], 1);
    let wide = draw(&from, to.id, &path, &[], 64);
    installed(&path, 2);
    to.endpoint.install_receive(0, narrow.receiving);
    to.endpoint.install_receive(1, wide.receiving);
    from.endpoint.install_send(0, narrow.sending, 1);
    from.endpoint.install_send(1, wide.sending, 64);
    // Five cells do not fit into a quota of one: the owner is told, the other lane goes on.
    from.endpoint.send(0, header(1), vec![1; 5 * FRAME_DATA]);
    from.endpoint.send(1, header(2), b"through".to_vec());
    assert_eq!(message(&to).1, b"through");
    assert!(matches!(from.events.recv(WAIT), Some(Event::LaneFault { lane: 0, .. })));
}

#[test]
fn a_receiver_that_comes_back_is_reached_again() {
    let (from, relays, to, nodes) = network(1);
    publish(&nodes, &relays, &[&from, &to]);
    let path = [&relays[0]];
    let keys = draw(&from, to.id, &path, &[], 64);
    installed(&path, 1);
    to.endpoint.install_receive(0, keys.receiving.clone());
    from.endpoint.install_send(0, keys.sending, 64);
    from.endpoint.send(0, header(1), b"first".to_vec());
    assert_eq!(message(&to).1, b"first");
    // The same address, a new process: the relay connects again by itself.
    let address = to.url.strip_prefix("http://").unwrap();
    to.endpoint.shutdown(WAIT);
    until("the link breaks", || relays[0].counters.dropped("link_broken") > 0);
    let listener = std::net::TcpListener::bind(address).unwrap();
    let config = EndpointConfig { listener, metrics: None, limits: Limits::default() };
    let (endpoint, events) = Endpoint::start(config).unwrap();
    let again = Node { id: to.id, url: to.url.clone(), endpoint, events };
    again.endpoint.install_receive(0, keys.receiving);
    until("a message after the restart", || {
        from.endpoint.send(0, header(2), b"second".to_vec());
        std::thread::sleep(Duration::from_millis(100));
        again.events.try_recv().is_some_and(
            |e| matches!(e, Event::Message { message, .. } if message.payload == b"second"),
        )
    });
}

/// Sends bytes and gives the status line of the answer, if any.
fn raw(url: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    // Kept open for writing: a server may take a closed half as the end of the exchange.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn rubbish_changes_nothing_and_is_counted() {
    let relay = RunningRelay::start(Limits::default());
    let dropped = |reason| relay.counters.dropped(reason);
    let url = relay.url.as_str();
    raw(url, b"\x16\x03\x01 this is not HTTP\r\n\r\n");
    until("bad HTTP", || dropped("bad_http") == 1);
    assert!(
        raw(url, b"GET /v1/cells HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").contains("404")
    );
    assert!(raw(url, &post("/v1/letters", &vec![0; CELL - 1])).contains("400"));
    assert!(raw(url, &post("/v1/letters", &vec![0; CELL + 1])).contains("400"));
    assert!(raw(url, &post("/v1/letters", &vec![0; 10 * CELL])).contains("400"));
    until("letters of a wrong size", || dropped("letter_size") == 3);
    // Of the right size the answer is always the same.
    assert!(raw(url, &post("/v1/letters", &vec![7; CELL])).contains("202"));
    until("an unknown version", || dropped("letter_version") == 1);
    assert!(raw(url, &post("/v1/cells", &vec![7; 3 * CELL])).contains("202"));
    until("unknown tags", || dropped("unknown_tag") == 3);
    assert!(raw(url, &post("/v1/cells", &vec![7; CELL + 5])).contains("400"));
    until("a truncated cell", || dropped("truncated_cell") == 1);
    assert_eq!(relay.counters.letters_out.get() + relay.counters.cells_out.get(), 0);
}

#[test]
fn slow_drips_are_cut_off() {
    let relay =
        RunningRelay::start(Limits { read: Duration::from_millis(200), ..Limits::default() });
    let connect = || {
        let stream = TcpStream::connect(relay.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream
    };
    // Each holds its connection open and says no more.
    let mut header = connect();
    header.write_all(b"POST /v1/cells HTTP/1.1\r\nHo").unwrap();
    let mut cell = connect();
    cell.write_all(&post("/v1/cells", &vec![0; 2 * CELL])[..CELL + 100]).unwrap();
    let mut letter = connect();
    letter.write_all(&post("/v1/letters", &vec![0; CELL])[..300]).unwrap();
    for stream in [&mut header, &mut cell, &mut letter] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the relay ends the connection");
    }
    for reason in ["slow_cell", "slow_letter", "bad_http"] {
        until(reason, || relay.counters.dropped(reason) == 1);
    }
    until("no connection is left", || relay.counters.connections.get() == 0);
}

#[test]
fn connections_beyond_the_bound_are_refused() {
    let relay = RunningRelay::start(Limits { connections_per_peer: 3, ..Limits::default() });
    let address = relay.url.strip_prefix("http://").unwrap();
    let held: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    until("three connections", || relay.counters.connections.get() == 3);
    let mut fourth = TcpStream::connect(address).unwrap();
    fourth.set_read_timeout(Some(WAIT)).unwrap();
    assert!(matches!(fourth.read(&mut [0]), Ok(0) | Err(_)));
    assert_eq!(relay.counters.dropped("connections_full"), 1);
    drop(held);
    until("places are given back", || relay.counters.connections.get() == 0);
    assert!(
        raw(&relay.url, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .contains("200")
    );
}

/// One lane says a lot, the other nothing: on every link there are as many cells of both.
#[test]
fn under_cover_a_silent_lane_looks_like_a_busy_one() {
    let (from, relays, to, mut nodes) = network(3);
    let (silent_from, silent_to) = (Node::start(), Node::start());
    let last = [Tap::before(&to.url), Tap::before(&silent_to.url)];
    nodes.insert(to.id, last[0].url.clone());
    nodes.insert(silent_to.id, last[1].url.clone());
    publish(&nodes, &relays, &[&from, &to, &silent_from, &silent_to]);
    let start = WallClock::system().seconds(Instant::now()) + 4;
    let cover = Some(Cover { period: 10_000, start, stop: start + 3 });
    let path: Vec<_> = relays.iter().collect();
    for (from, to) in [(&from, &to), (&silent_from, &silent_to)] {
        let keys = draw_covered(from, to.id, &path, &[], 200, cover);
        to.endpoint.install_receive(0, keys.receiving);
        from.endpoint.install_send(0, keys.sending, 200);
    }
    installed(&path, 6);
    let payload = vec![5; 100 * FRAME_DATA];
    from.endpoint.send(0, header(1), payload.clone());
    assert_eq!(message(&to), (header(1), payload));
    let cells = |tap: &Tap| tap.requests().iter().map(|(_, body)| body.len() / CELL).sum::<usize>();
    // The lanes end by themselves, and then the relays' links.
    until("the end of both lanes", || WallClock::system().seconds(Instant::now()) > start + 4);
    let counts = [cells(&last[0]), cells(&last[1])];
    assert_eq!(counts[0], counts[1]);
    assert!((300..=312).contains(&counts[0]), "{counts:?}");
    assert!(silent_to.events.try_recv().is_none(), "a dummy is no message");
}

/// A model of a hundred layers has as many letters for one relay; connections there are few.
#[test]
fn letters_that_are_many_wait_and_none_is_lost() {
    const LETTERS: u64 = 400;
    let from = Node::start();
    let relay = RunningRelay::start(Limits { connections_per_peer: 64, ..Limits::default() });
    from.endpoint.set_directory(Addresses::from([(relay.reference.id, relay.url.clone())]));
    for _ in 0..LETTERS {
        from.endpoint.letter(relay.reference.id, Box::new([0; CELL]));
    }
    until("all letters", || relay.counters.letters_in.get() == LETTERS);
    from.endpoint.shutdown(WAIT);
}
