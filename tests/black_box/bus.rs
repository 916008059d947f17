//! The bus against a real RabbitMQ: what every end does, and what happens when broker or network go away.
//! On a runtime with several threads: `rabbitmqctl` blocks one of them.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, future::try_join_all, stream};
use lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use proofhouse_core::bus::{
    self, Bus, BusError, Consumer, Declaration, Delivery, Link, Message, Source, Target,
    behaviour::{self, next, take},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::block_in_place,
    time::timeout,
};

/// What the tests need of a RabbitMQ of their own.
pub(crate) trait Broker: Sync {
    /// Of its AMQP listener on this machine.
    fn port(&self) -> u16;
    /// `rabbitmqctl` with these arguments; gives what it printed.
    fn ctl(&self, arguments: &[&str]) -> String;
    /// Writes down which queues there are. RabbitMQ says that one is declared some seconds before it would still know it after a
    /// kill -9.
    fn write_down(&self);
    /// Kill -9, and start again with the same data; returns when it is up.
    fn kill_and_start(&self);
    /// A user and the password, with all permissions.
    fn user(&self) -> (String, String);
}

const LONG: Duration = Duration::from_secs(180);

fn url(broker: &dyn Broker, port: u16) -> String {
    let (user, password) = broker.user();
    format!("amqp://{user}:{password}@127.0.0.1:{port}")
}

fn connect(broker: &dyn Broker) -> Arc<dyn Bus> {
    bus::connect(&url(broker, broker.port()), "proofhouse test").unwrap()
}

async fn raw(broker: &dyn Broker) -> Connection {
    Connection::connect(&url(broker, broker.port()), ConnectionProperties::default()).await.unwrap()
}

/// A name that no other run of the tests has used.
fn fresh(what: &str) -> String {
    format!("proofhouse.test.{}.{what}", uuid::Uuid::new_v4())
}

fn queue(name: &str) -> Source {
    Source::Queues(vec![name.into()])
}

async fn declare_queue(bus: &dyn Bus, name: &str) {
    bus.declare(&[Declaration::Queue(name.into())]).await.unwrap();
}

async fn send(bus: &dyn Bus, name: &str, body: String) -> Result<(), BusError> {
    bus.publish(&Target::Queue(name.into()), Message::persistent(body)).await
}

async fn reach(bus: &dyn Bus, wanted: impl FnMut(&Link) -> bool) -> Link {
    let mut link = bus.link();
    *timeout(LONG, link.wait_for(wanted)).await.expect("in time").unwrap()
}

pub(crate) async fn behaves(broker: &dyn Broker) {
    let bus = connect(broker);
    behaviour::all(&*bus, &uuid::Uuid::new_v4().to_string()).await;
    bus.close().await;
}

/// Connections carry a name and end with the bus.
pub(crate) async fn connections_are_named_and_end(broker: &dyn Broker) {
    let name = fresh("connection");
    let bus = bus::connect(&url(broker, broker.port()), &name).unwrap();
    declare_queue(&*bus, &name).await;
    let connections = || broker.ctl(&["-q", "list_connections", "client_properties"]);
    until(|| connections().contains(&name)).await;
    let mut consumer = bus.consume(queue(&name), 3).await.unwrap();
    let start = Instant::now();
    bus.close().await;
    assert!(start.elapsed() < Duration::from_secs(4), "took {:?}", start.elapsed());
    assert!(consumer.next().await.is_none());
    assert!(!bus.link().borrow().up);
    assert!(matches!(send(&*bus, "q", "x".into()).await, Err(BusError::Away { .. })));
    until(|| !connections().contains(&name)).await;
}

/// A leader that hangs takes nothing from the next; one that ends leaves everything to the other.
pub(crate) async fn the_greater_rank_goes_first(broker: &dyn Broker) {
    let (former, next_one) = (connect(broker), connect(broker));
    let (one, two) = (fresh("one"), fresh("two"));
    for bus in [&former, &next_one] {
        declare_queue(&**bus, &one).await;
        declare_queue(&**bus, &two).await;
    }
    let ranked = |rank| Source::Ranked { queues: vec![one.clone(), two.clone()], rank };
    let mut behind = former.consume(ranked(7), 100).await.unwrap();
    send(&*former, &one, "before".into()).await.unwrap();
    assert_eq!(next(&mut behind).await.body, "before");
    let mut ahead = next_one.consume(ranked(i64::from(i32::MAX) + 1), 100).await.unwrap();
    for n in 0..20 {
        for name in [&one, &two] {
            send(&*former, name, n.to_string()).await.unwrap();
        }
    }
    for _ in 0..40 {
        next(&mut ahead).await.settle.ack().await.unwrap();
    }
    assert!(behind.try_next().is_none());
    next_one.close().await;
    send(&*former, &two, "after".into()).await.unwrap();
    assert_eq!(next(&mut behind).await.body, "after");
    former.close().await;
}

/// Asks again until it is so: `rabbitmqctl` has nothing to wait on.
async fn until(so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < LONG, "it never became so");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What happens in the middle of the traffic.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The broker's application stops and starts.
    StopAndStart,
    /// The broker's process dies and starts with what is on its disk.
    Kill,
    /// The network cuts the connection.
    Cut,
    /// The network swallows everything; only heartbeats tell.
    Freeze,
}

/// Traffic over a fault: everything confirmed arrives, what was settled does not come again, the fanout that is not durable
/// and the mailbox on it are back.
pub(crate) async fn survives(broker: &dyn Broker, fault: Fault) {
    println!("{fault:?}");
    let proxy = Proxy::start(broker.port()).await;
    let address = format!("{}?heartbeat=5&connection_timeout=5000", url(broker, proxy.port));
    let bus = bus::connect(&address, "proofhouse test").unwrap();
    let (work, status) = (fresh("work"), fresh("status"));
    declare_queue(&*bus, &work).await;
    bus.declare(&[Declaration::Fanout { name: status.clone(), durable: false }]).await.unwrap();
    let mailbox = Source::Mailbox { name: fresh("mailbox"), exchanges: vec![status.clone()] };
    let mut mailbox = bus.consume(mailbox, 10).await.unwrap();
    let before = *bus.link().borrow();
    assert!(before.up);

    let held_queue = fresh("held");
    declare_queue(&*bus, &held_queue).await;
    send(&*bus, &held_queue, "held".into()).await.unwrap();
    let mut holder = bus.consume(queue(&held_queue), 1).await.unwrap();
    let held = come(&mut holder).await;

    // One queue is filled beforehand, exactly once; the other in the middle of it all, where a lost confirm doubles a message.
    let once = fresh("once");
    let bodies: HashSet<String> = (0..3000).map(|n| format!("{{\"n\": {n}}}")).collect();
    let direct = connect(broker);
    declare_queue(&*direct, &once).await;
    block_in_place(|| broker.write_down());
    send_all(&*direct, &once, &bodies).await;
    direct.close().await;
    let (once, twice) =
        (bus.consume(queue(&once), 50).await.unwrap(), bus.consume(queue(&work), 50).await.unwrap());
    let progress = watch::Sender::new(0);
    // A broker that is killed may forget acknowledgements that it has taken.
    let strict = !matches!(fault, Fault::Kill);
    tokio::join!(
        send_all(&*bus, &work, &bodies),
        collect(once, bodies.clone(), strict, &progress),
        collect(twice, bodies.clone(), false, &progress),
        happen(broker, &proxy, fault, &*bus, before.generation, progress.subscribe()),
    );

    assert!(matches!(held.settle.ack().await, Err(BusError::Stale)));
    // A busy machine may lose the link once more meanwhile.
    loop {
        let again = come(&mut holder).await;
        assert!(again.redelivered);
        if again.settle.ack().await.is_ok() && holder.settled().await.is_ok() {
            break;
        }
    }

    // The mailbox is bound again some time after the link is up; status messages are sent every few seconds anyway.
    let heard = async {
        loop {
            bus.publish(&Target::Fanout(status.clone()), Message::persistent("still here")).await.unwrap();
            if let Ok(delivery) = timeout(Duration::from_millis(200), mailbox.next()).await {
                return delivery.unwrap();
            }
        }
    };
    assert_eq!(timeout(LONG, heard).await.unwrap().body, "still here");
    bus.close().await;
}

/// The next delivery. On a busy machine a link that was lost takes a while to be up again.
async fn come(consumer: &mut Consumer) -> Delivery {
    timeout(LONG, consumer.next()).await.expect("comes in time").expect("the bus is open")
}

async fn send_all(bus: &dyn Bus, name: &str, bodies: &HashSet<String>) {
    let sent =
        stream::iter(bodies).map(|body| timeout(LONG, send(bus, name, body.clone()))).buffer_unordered(50);
    sent.for_each(async |sent| sent.expect("answers").unwrap()).await;
}

async fn happen(
    broker: &dyn Broker,
    proxy: &Proxy,
    fault: Fault,
    bus: &dyn Bus,
    generation: u64,
    mut progress: watch::Receiver<usize>,
) {
    progress.wait_for(|settled| *settled > 500).await.unwrap();
    match fault {
        Fault::StopAndStart => {
            block_in_place(|| broker.ctl(&["-q", "stop_app"]));
            reach(bus, |link| !link.up).await;
            block_in_place(|| broker.ctl(&["-q", "start_app"]));
        }
        Fault::Kill => block_in_place(|| broker.kill_and_start()),
        Fault::Cut => proxy.set(Mode::Cut),
        Fault::Freeze => {
            proxy.set(Mode::Frozen);
            reach(bus, |link| !link.up).await;
        }
    }
    proxy.set(Mode::Open);
    reach(bus, |link| link.up && link.generation > generation).await;
    assert!(*progress.borrow() < 3000, "the fault came after the traffic");
}

/// Takes in batches, as the dispatcher does, until all were acknowledged, or their acknowledgements cut off: of those nobody knows
/// whether the broker still had them. Where it is strict, none that is known to be settled comes again.
async fn collect(
    mut consumer: Consumer,
    mut missing: HashSet<String>,
    strict: bool,
    progress: &watch::Sender<usize>,
) {
    let (mut settled, mut cut_off) = (HashSet::new(), HashSet::new());
    while !missing.is_subset(&cut_off) {
        let Ok(first) = timeout(LONG, consumer.next()).await else {
            panic!(
                "nothing comes; {} are missing, {} acknowledgements were cut off",
                missing.len(),
                cut_off.len()
            );
        };
        let mut batch = vec![first.expect("the bus is open")];
        while let Some(more) = consumer.try_next() {
            batch.push(more);
        }
        let mut acked = Vec::new();
        for delivery in &batch {
            let body = String::from_utf8(delivery.body.to_vec()).unwrap();
            assert!(!strict || !settled.contains(&body), "{body} was settled");
            if timeout(LONG, delivery.settle.ack()).await.expect("answers").is_ok() {
                missing.remove(&body);
                acked.push(body);
            } else {
                cut_off.insert(body);
            }
        }
        if timeout(LONG, consumer.settled()).await.expect("answers").is_ok() {
            settled.extend(acked);
            progress.send_replace(settled.len());
        }
    }
}

/// A queue deleted under its consumer and an exchange deleted under its publisher come back.
pub(crate) async fn what_was_deleted_comes_back(broker: &dyn Broker) {
    let bus = connect(broker);
    let (name, exchange) = (fresh("deleted"), fresh("deleted.fanout"));
    declare_queue(&*bus, &name).await;
    bus.declare(&[Declaration::Fanout { name: exchange.clone(), durable: true }]).await.unwrap();
    let mut consumer = bus.consume(queue(&name), 5).await.unwrap();
    let other = raw(broker).await;
    let channel = other.create_channel().await.unwrap();
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let came = async {
        loop {
            send(&*bus, &name, "x".into()).await.unwrap();
            if let Ok(delivery) = timeout(Duration::from_millis(200), consumer.next()).await {
                return delivery.unwrap();
            }
        }
    };
    timeout(LONG, came).await.unwrap().settle.ack().await.unwrap();

    bus.publish(&Target::Fanout(exchange.clone()), Message::persistent("x")).await.unwrap();
    channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    let many = (0..50)
        .map(|_| async { bus.publish(&Target::Fanout(exchange.clone()), Message::persistent("x")).await });
    try_join_all(many).await.unwrap();
    // lapin can still send on a channel that the broker has just closed, which costs the link: no assertion on its generation.
    bus.close().await;
}

/// An older system's queue and exchange, and a user who may not configure.
pub(crate) async fn declares_beside_others(broker: &dyn Broker) {
    let (odd, old, fan) = (fresh("odd"), fresh("old"), fresh("fan"));
    let other = raw(broker).await;
    let channel = other.create_channel().await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(5));
    channel.queue_declare(odd.as_str().into(), durable, arguments).await.unwrap();
    channel.queue_declare(old.as_str().into(), durable, FieldTable::default()).await.unwrap();

    let bus = connect(broker);
    let refused = bus.declare(&[Declaration::Queue(odd.clone())]).await;
    let said = "without arguments (x-max-length is '5' of type";
    assert!(
        matches!(&refused, Err(BusError::Refused { reason, .. }) if reason.contains(&odd) && reason.contains(said)),
        "{refused:?}"
    );
    for durable in [true, false] {
        bus.declare(&[Declaration::Fanout { name: fan.clone(), durable }]).await.unwrap();
    }
    other_kinds_are_named(&*bus, &channel).await;

    let user = uuid::Uuid::new_v4().to_string();
    broker.ctl(&["-q", "add_user", &user, "pw"]);
    broker.ctl(&["-q", "set_permissions", &user, "", ".*", ".*"]);
    let modest = bus::connect(&format!("amqp://{user}:pw@127.0.0.1:{}", broker.port()), "modest").unwrap();
    modest.declare(&[Declaration::Queue(old.clone())]).await.unwrap();
    modest.declare(&[Declaration::Fanout { name: fan.clone(), durable: false }]).await.unwrap();
    let missing = fresh("missing");
    let wanted = |name: &String| Declaration::Fanout { name: name.clone(), durable: true };
    for declaration in [Declaration::Queue(missing.clone()), wanted(&missing)] {
        let refused = modest.declare(&[declaration]).await;
        assert!(
            matches!(&refused, Err(BusError::Missing { reason, .. }) if reason.contains(&missing)),
            "{refused:?}"
        );
    }
    send(&*modest, &old, "x".into()).await.unwrap();
    let mut consumer = modest.consume(queue(&old), 1).await.unwrap();
    assert_eq!(take(&mut consumer).await, "x");
    broker.ctl(&["-q", "set_permissions", &user, "", "", ""]);
    modest.close().await;
    bus.close().await;
}

/// A queue that is not durable, an exclusive one, an exchange that is no fanout: each is named, with what to do.
async fn other_kinds_are_named(bus: &dyn Bus, channel: &Channel) {
    let (passing, locked, topic) = (fresh("passing"), fresh("locked"), fresh("topic"));
    let options = QueueDeclareOptions::default();
    channel.queue_declare(passing.as_str().into(), options, FieldTable::default()).await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, ..options };
    channel.queue_declare(locked.as_str().into(), exclusive, FieldTable::default()).await.unwrap();
    let (kind, options) = (ExchangeKind::Topic, ExchangeDeclareOptions::default());
    channel.exchange_declare(topic.as_str().into(), kind, options, FieldTable::default()).await.unwrap();
    for (declaration, is) in [
        (Declaration::Queue(passing), "(durable is 'false')"),
        (Declaration::Queue(locked), "exclusive"),
        (Declaration::Fanout { name: topic, durable: false }, "an exchange of type fanout (type is 'topic')"),
    ] {
        let refused = bus.declare(std::slice::from_ref(&declaration)).await;
        let name = declaration.name();
        assert!(
            matches!(&refused, Err(BusError::Refused { reason, .. })
                if reason.contains(&name) && reason.contains(is) && reason.contains("Remove it")),
            "{refused:?}"
        );
    }
}

/// A wrong password ends nothing: once it is right, everything that waited goes on.
pub(crate) async fn waits_for_its_password(broker: &dyn Broker) {
    let user = uuid::Uuid::new_v4().to_string();
    broker.ctl(&["-q", "add_user", &user, "old"]);
    broker.ctl(&["-q", "set_permissions", &user, ".*", ".*", ".*"]);
    let bus = bus::connect(&format!("amqp://{user}:new@127.0.0.1:{}", broker.port()), "test").unwrap();
    let name = fresh("q");
    let declaring = declare_queue(&*bus, &name);
    let changing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!bus.link().borrow().up);
        block_in_place(|| broker.ctl(&["-q", "change_password", &user, "new"]));
    };
    tokio::join!(declaring, changing);
    bus.close().await;
}

/// All queues of eighty pairs on one consumer, and a burst on one of them.
pub(crate) async fn many_queues_and_a_burst(broker: &dyn Broker) {
    const BURST: usize = 10_000;
    let bus = connect(broker);
    let prefix = fresh("many");
    let names: Vec<String> = (0..320).map(|n| format!("{prefix}.{n}")).collect();
    let start = Instant::now();
    let declarations: Vec<_> = names.iter().cloned().map(Declaration::Queue).collect();
    bus.declare(&declarations).await.unwrap();
    eprintln!("320 queues declared in {:?}", start.elapsed());

    let start = Instant::now();
    let sent: Vec<_> = stream::iter(0..BURST)
        .map(|n| send(&*bus, &names[7], n.to_string()))
        .buffer_unordered(1000)
        .collect()
        .await;
    assert!(sent.iter().all(Result::is_ok));
    eprintln!("{BURST} messages confirmed in {:?}", start.elapsed());

    let start = Instant::now();
    let mut consumer = bus.consume(Source::Queues(names.clone()), 1000).await.unwrap();
    eprintln!("320 queues subscribed in {:?}", start.elapsed());
    let start = Instant::now();
    let mut seen = BTreeSet::new();
    while seen.len() < BURST {
        let delivery = next(&mut consumer).await;
        seen.insert(String::from_utf8(delivery.body.to_vec()).unwrap());
        delivery.settle.ack().await.unwrap();
    }
    consumer.settled().await.unwrap();
    eprintln!("{BURST} messages taken in {:?}", start.elapsed());
    for name in [&names[0], &names[319]] {
        send(&*bus, name, "edge".into()).await.unwrap();
        assert_eq!(take(&mut consumer).await, "edge");
    }
    bus.close().await;
}

/// Whoever subscribes again and again, as a worker for each free slot, comes to the numbers of channels that failed long ago.
pub(crate) async fn numbers_of_channels_come_again(broker: &dyn Broker) {
    // RabbitMQ has 2047 on a link.
    const TIMES: usize = 2100;
    let bus = connect(broker);
    let name = fresh("again");
    declare_queue(&*bus, &name).await;
    let missing = Source::Queues(vec![fresh("missing")]);
    for _ in 0..2 {
        bus.consume(missing.clone(), 1).await.map(drop).unwrap_err();
    }
    let generation = bus.link().borrow().generation;
    for _ in 0..TIMES {
        bus.consume(queue(&name), 1).await.unwrap();
    }
    let mut consumer = bus.consume(queue(&name), 1).await.unwrap();
    send(&*bus, &name, "x".into()).await.unwrap();
    next(&mut consumer).await.settle.ack().await.unwrap();
    assert_eq!(bus.link().borrow().generation, generation, "the link lasts");
    bus.close().await;
}

/// A broker that accepts connections and says nothing: retried, and nothing piles up.
pub(crate) async fn a_silent_broker_is_left(broker: &dyn Broker) {
    let proxy = Proxy::start(broker.port()).await;
    proxy.set(Mode::Frozen);
    let address = format!("{}?connection_timeout=200", url(broker, proxy.port));
    let bus = bus::connect(&address, "test").unwrap();
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("lapin")).count()
    };
    let mut accepted = proxy.accepted.subscribe();
    timeout(LONG, accepted.wait_for(|count| *count >= 5)).await.unwrap().unwrap();
    assert!(threads() <= 3, "{} threads of tries", threads());
    proxy.set(Mode::Open);
    reach(&*bus, |link| link.up).await;
    bus.close().await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Open,
    Cut,
    Frozen,
}

/// A network between us and the broker that can fail.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: watch::Sender<Mode>,
    accepted: watch::Sender<usize>,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, accepted) = (watch::Sender::new(Mode::Open), watch::Sender::new(0));
        let (modes, count) = (mode.clone(), accepted.clone());
        tokio::spawn(async move {
            while let Ok((inside, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                tokio::spawn(pass(inside, to, modes.subscribe()));
            }
        });
        Self { port, mode, accepted }
    }

    /// What happens to every connection, those that are there and those to come.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn pass(mut inside: TcpStream, to: u16, mut mode: watch::Receiver<Mode>) {
    if *mode.borrow_and_update() == Mode::Frozen {
        // Read what comes, answer nothing, until the other side has enough or the network heals.
        let mut sink = tokio::io::sink();
        tokio::select! {
            _ = tokio::io::copy(&mut inside, &mut sink) => {}
            _ = mode.wait_for(|mode| *mode != Mode::Frozen) => {}
        }
        return;
    }
    let Ok(mut outside) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => return,
        _ = mode.changed() => {}
    }
    // What was cut ends here; what is frozen stays open and silent. An error means that the proxy is gone.
    drop(mode.wait_for(|mode| *mode != Mode::Frozen).await);
}
