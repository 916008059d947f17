//! Messages as fast as the broker takes them: persistent, each confirmed, many on their way at once.

use std::{collections::VecDeque, time::Instant};

use anyhow::Result;
use lapin::{
    BasicProperties, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions, QueuePurgeOptions},
    types::FieldTable,
};
use proofhouse_tests::amqp;

/// How many messages of a connection are on their way and not confirmed.
const WINDOW: usize = 2000;

/// A queue's name and a body.
pub(crate) type Letter = (String, String);

/// Publishes all of them, by so many connections, and returns when all are confirmed.
pub(crate) async fn publish(bus: &str, letters: Vec<Letter>, connections: usize) -> Result<()> {
    let share = letters.len().div_ceil(connections).max(1);
    let mut senders = tokio::task::JoinSet::new();
    for share in letters.chunks(share) {
        senders.spawn(send(bus.to_owned(), share.to_vec()));
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    Ok(())
}

async fn send(bus: String, letters: Vec<Letter>) -> Result<()> {
    let connection = amqp::connection(&bus).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut on_their_way = VecDeque::with_capacity(WINDOW);
    for (queue, body) in &letters {
        if on_their_way.len() == WINDOW
            && let Some(oldest) = on_their_way.pop_front()
        {
            confirmed(oldest).await?;
        }
        let properties =
            BasicProperties::default().with_content_encoding("UTF-8".into()).with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish("".into(), queue.as_str().into(), options, body.as_bytes(), properties);
        on_their_way.push_back(sent.await?);
    }
    for left in on_their_way {
        confirmed(left).await?;
    }
    Ok(connection.close(200, "done".into()).await?)
}

async fn confirmed(sent: impl Future<Output = lapin::Result<Confirmation>>) -> Result<()> {
    anyhow::ensure!(sent.await?.is_ack(), "the broker refused a message");
    Ok(())
}

/// The most messages a second that the broker confirms, by one, two and four connections.
pub(crate) async fn best_rate(bus: &str, letters: &[Letter]) -> Result<[f64; 3]> {
    let mut rates = [0.0; 3];
    for (rate, connections) in rates.iter_mut().zip([1, 2, 4]) {
        let queue = format!("limit-{connections}");
        let connection = amqp::connection(bus).await?;
        let channel = connection.create_channel().await?;
        let options = lapin::options::QueueDeclareOptions::durable();
        channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await?;
        let letters: Vec<Letter> = letters.iter().map(|(_, body)| (queue.clone(), body.clone())).collect();
        let count = f64::from(u32::try_from(letters.len())?);
        let start = Instant::now();
        publish(bus, letters, connections).await?;
        *rate = count / start.elapsed().as_secs_f64();
        channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await?;
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
        connection.close(200, "done".into()).await?;
    }
    Ok(rates)
}
