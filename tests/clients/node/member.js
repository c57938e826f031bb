'use strict'
// A member of a group with kafkajs: `member.js BOOTSTRAP GROUP TOPIC classic`.
//
// Prints `PARTITION OFFSET VALUE` for each record, then commits. SIGTERM makes it leave.

const { Kafka, logLevel } = require('kafkajs')

const [bootstrap, groupId, topic] = process.argv.slice(2)

const kafka = new Kafka({
  brokers: [bootstrap],
  clientId: 'node-member',
  logLevel: logLevel.WARN,
  logCreator: () => ({ log }) => console.error(log.message, log.error || ''),
  retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 100 },
})

async function main() {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6_000, heartbeatInterval: 1_000, rebalanceTimeout: 10_000 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
      for (const message of batch.messages) {
        console.log(batch.partition, message.offset, message.value.toString())
        resolveOffset(message.offset)
      }
      const offset = String(BigInt(batch.lastOffset()) + 1n)
      await consumer.commitOffsets([{ topic, partition: batch.partition, offset }])
      await heartbeat()
    },
  })
  process.once('SIGTERM', async () => {
    await consumer.disconnect()
    process.exit(0)
  })
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
