'use strict'
// What the scenarios share: kafkajs as it is shipped, the codecs it leaves to its users, numbered records and checks.

const assert = require('node:assert/strict')
const { randomBytes } = require('node:crypto')
const { setTimeout: sleep } = require('node:timers/promises')
const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, logLevel } = require('kafkajs')
const Cluster = require('kafkajs/src/cluster')
const { createLogger } = require('kafkajs/src/loggers')
const createSocket = require('kafkajs/src/network/socketFactory')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')

const bootstrap = process.argv[2]
const READ_MS_MAX = 30_000
const settings = { brokers: [bootstrap], clientId: 'node', requestTimeout: 10_000, retry: { initialRetryTime: 50, retries: 5 } }
const kafka = new Kafka({ ...settings, logLevel: logLevel.NOTHING })
const admin = kafka.admin()

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

// kafkajs reads only as a member of a group. These are the connections its consumer reads with, without the group.
const connections = new Cluster({
  ...settings,
  logger: createLogger({ level: logLevel.NOTHING, logCreator: () => () => {} }),
  socketFactory: createSocket(),
  connectionTimeout: 5_000,
  enforceRequestTimeout: true,
  metadataMaxAge: 300_000,
  allowAutoTopicCreation: false,
  maxInFlightRequests: null,
  instrumentationEmitter: null,
  offsets: new Map(),
})

async function connect() {
  await zstd.init()
  await admin.connect()
  await connections.connect()
}

const run = randomBytes(4).toString('hex')
let topics = 0

/** A topic name that no other scenario or run has. */
const name = scenario => `node-${scenario}-${run}-${topics++}`

/** Waits after a change for a cluster that answers before all of it knows (SETTLE_MS, see `run`). */
const settle = () => sleep(Number(process.env.SETTLE_MS || 0))

async function topic(scenario, numPartitions = 1, configs = {}) {
  const created = name(scenario)
  await create(created, numPartitions, configs)
  return created
}

async function create(created, numPartitions, configs = {}) {
  const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
  const isNew = await admin.createTopics({ topics: [{ topic: created, numPartitions, replicationFactor: 1, configEntries }] })
  await settle()
  return isNew
}

async function withProducer(options, use) {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...options })
  await producer.connect()
  try {
    return await use(producer)
  } finally {
    await producer.disconnect()
  }
}

const send = (topic, messages, options = {}) => withProducer({}, producer => producer.send({ topic, messages, ...options }))

const value = i => Buffer.from(`value-${i}-${'abcdefgh'.repeat(12)}`)

/** Numbered records, round robin over the partitions. */
const numbered = (partitions, count) => Array.from({ length: count }, (_, i) => ({ partition: i % partitions, value: value(i) }))

const fill = (topic, partitions, count, options) => send(topic, numbered(partitions, count), options)

/** One Fetch of one partition: the records from `offset` on, which may be none. */
async function fetch(topic, partition, offset, maxWaitTime = 500) {
  await connections.addTargetTopic(topic)
  const leader = Object.keys(connections.findLeaderForPartitions(topic, [partition]))[0]
  const broker = await connections.findBroker({ nodeId: leader })
  const partitions = [{ partition, fetchOffset: String(offset), maxBytes: 1 << 20 }]
  const { responses } = await broker.fetch({ maxWaitTime, isolationLevel: 1, topics: [{ topic, partitions }] })
  const messages = responses.flatMap(response => response.partitions).flatMap(found => found.messages)
  return messages.filter(message => BigInt(message.offset) >= BigInt(offset))
}

/** Reads one partition until `count` records came, and once more for any too many. */
async function read(topic, partition, count, offset = 0) {
  const records = []
  const deadline = Date.now() + READ_MS_MAX
  let next = offset
  let last = false
  while (!last && Date.now() < deadline) {
    last = records.length >= count
    for (const record of await fetch(topic, partition, next, last ? 100 : 500)) {
      records.push(record)
      next = Number(record.offset) + 1
    }
  }
  assert.equal(records.length, count, 'records read')
  return records
}

/** The numbered records are there: each once, in order and without a gap in every partition. */
async function checkFilled(topic, partitions, count) {
  for (let partition = 0; partition < partitions; partition++) {
    const share = Math.floor((count - partition + partitions - 1) / partitions)
    const records = await read(topic, partition, share)
    records.forEach((record, position) => {
      assert.equal(record.offset, String(position), `partition ${partition} record ${position} offset`)
      assert.deepEqual(record.value, value(position * partitions + partition), `partition ${partition} record ${position} value`)
    })
  }
}

/** A member of a group that reads: `records` are what it has read, `assigned` its partitions of the topic. */
async function join(groupId, topic, { autoCommit = false, fromBeginning = true } = {}) {
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 100, sessionTimeout: 6_000, maxWaitTimeInMs: 100 })
  const member = { consumer, records: [], assigned: [], leave: () => consumer.disconnect() }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { member.assigned = payload.memberAssignment[topic] || [] })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning })
  await consumer.run({
    autoCommit,
    eachMessage: async ({ partition, message }) => { member.records.push({ ...message, partition }) },
  })
  return member
}

/** The promise fails with this error of the protocol (as kafkajs names it), alone or in an aggregate; it is given back. */
async function fails(type, promise) {
  try {
    await promise
  } catch (error) {
    const found = (error.errors || [error])[0]
    const cause = found.type || !found.cause ? found : found.cause
    assert.equal(cause.type, type, `${found}`)
    return found
  }
  throw new Error(`expected ${type}, found success`)
}

async function disconnect() {
  await admin.disconnect()
  await connections.disconnect()
}

module.exports = {
  admin, bootstrap, checkFilled, connect, create, disconnect, fails, fetch, fill, join, name, numbered, read, send, settle, sleep,
  topic, value, withProducer,
}
