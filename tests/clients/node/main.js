'use strict'
// The conformance program of kafkajs: `node main.js BOOTSTRAP [NAME...]`.

const assert = require('node:assert/strict')
const { randomBytes } = require('node:crypto')
const { CompressionTypes, ConfigResourceTypes } = require('kafkajs')
const {
  admin, bootstrap, checkFilled, connect, create, disconnect, fails, fetch, fill, name, numbered, read, send, settle, sleep,
  topic, value, withProducer,
} = require('./client')
const groups = require('./groups')

const TIME = 1_700_000_000_000
// Records of that time are older than the default retention.
const KEEP = { 'retention.ms': '-1' }
const CONFIG_SOURCE = { TOPIC: 1, DEFAULT: 5 }

async function filled(scenario, count, options) {
  const where = await topic(scenario, 3)
  await fill(where, 3, count, options)
  await checkFilled(where, 3, count)
}

async function createTopic() {
  const created = name('create')
  assert.equal(await create(created, 3, { 'retention.ms': '3600000' }), true, 'created')
  assert.equal((await describe(created)).partitions.length, 3, 'partitions')
  // This client answers false for TOPIC_ALREADY_EXISTS.
  assert.equal(await create(created, 3), false, 'created again')
}

async function describe(where) {
  return (await admin.fetchTopicMetadata({ topics: [where] })).topics[0]
}

async function describeTopic() {
  const { partitions } = await describe(await topic('describe', 3))
  const brokers = (await admin.describeCluster()).brokers.map(broker => broker.nodeId)
  assert.deepEqual(partitions.map(p => p.partitionId).sort(), [0, 1, 2], 'partitions')
  for (const { leader, replicas, isr } of partitions) {
    assert.ok(brokers.includes(leader), `leader ${leader} is not one of ${brokers}`)
    assert.deepEqual([replicas, isr], [[leader], [leader]], 'replicas and in-sync replicas')
  }
}

async function listTopics() {
  const where = await topic('list')
  assert.ok((await admin.listTopics()).includes(where), `${where} is not listed`)
}

async function describeCluster() {
  const { brokers, controller, clusterId } = await admin.describeCluster()
  assert.ok(clusterId, 'no cluster id')
  assert.ok(brokers.some(broker => broker.nodeId === controller), 'the controller is not a broker')
  assert.ok(brokers.some(broker => `${broker.host}:${broker.port}` === bootstrap), `no broker at ${bootstrap}`)
}

async function idempotent() {
  const where = await topic('idempotent', 3)
  const messages = numbered(3, 5_000)
  await withProducer({ idempotent: true }, async producer => {
    for (let from = 0; from < messages.length; from += 60) {
      await producer.send({ topic: where, messages: messages.slice(from, from + 60) })
    }
  })
  await checkFilled(where, 3, 5_000)
}

async function roundTrip() {
  const where = await topic('trip', 1, KEEP)
  // This client sends no null header value, and gives a repeated one as a list.
  const headers = { a: [Buffer.from([0, 255, 7]), Buffer.from('again')], empty: Buffer.alloc(0), ключ: Buffer.from('v') }
  const sent = [
    { key: Buffer.from('key'), value: Buffer.from('value'), timestamp: String(TIME), headers },
    { key: null, value: Buffer.from('no key'), timestamp: String(TIME + 5) },
    { key: Buffer.from('no value'), value: null, timestamp: String(TIME - 5) },
    { key: Buffer.alloc(0), value: Buffer.alloc(0), timestamp: String(TIME) },
  ]
  const [told] = await send(where, sent.map(record => ({ partition: 0, ...record })), { compression: CompressionTypes.LZ4 })
  assert.equal(told.baseOffset, '0', 'offset told')
  const found = await read(where, 0, sent.length)
  sent.forEach((record, i) => {
    assert.deepEqual(found[i].key, record.key, `key ${i}`)
    assert.deepEqual(found[i].value, record.value, `value ${i}`)
    assert.equal(found[i].timestamp, record.timestamp, `timestamp ${i}`)
    assert.deepEqual({ ...found[i].headers }, record.headers || {}, `headers ${i}`)
  })
}

async function appendTime() {
  const where = await topic('time', 1, { 'message.timestamp.type': 'LogAppendTime' })
  const [told] = await send(where, [{ value: 'x', timestamp: String(TIME) }])
  assert.ok(Math.abs(Date.now() - Number(told.logAppendTime)) < 60_000, `the time told is not now: ${told.logAppendTime}`)
  const [record] = await read(where, 0, 1)
  assert.equal(record.batchContext.timestampType, 1, 'timestamp type')
  assert.equal(record.batchContext.maxTimestamp, told.logAppendTime, 'timestamp of the batch')
}

async function bigRecord() {
  const where = await topic('big')
  const big = randomBytes(900_000)
  await send(where, [{ value: big }], { compression: CompressionTypes.ZSTD })
  assert.ok((await read(where, 0, 1))[0].value.equals(big), 'the bytes differ')
}

async function readAll() {
  const where = await topic('read', 3)
  const messages = numbered(3, 20_000)
  await withProducer({}, async producer => {
    for (let from = 0; from < messages.length; from += 3_000) {
      await producer.send({ topic: where, messages: messages.slice(from, from + 3_000) })
    }
  })
  await checkFilled(where, 3, 20_000)
}

async function fetchFromOffset() {
  const where = await topic('seek')
  await fill(where, 1, 100, { compression: CompressionTypes.GZIP })
  const [first] = await read(where, 0, 58, 42)
  assert.deepEqual([first.offset, first.value], ['42', value(42)], 'first record')
}

async function fetchByTimestamp() {
  const where = await topic('times', 1, KEEP)
  const messages = numbered(1, 100).map((message, i) => ({ ...message, timestamp: String(TIME + i * 1_000) }))
  await send(where, messages, { compression: CompressionTypes.Snappy })
  const asked = async at => (await admin.fetchTopicOffsetsByTimestamp(where, at))[0].offset
  assert.equal(await asked(TIME + 49_001), '50', 'offset')
  assert.equal(await asked(1), '0', 'offset of time 1')
  // This client answers the end of the log when nothing is that late.
  assert.equal(await asked(TIME + 100_000), '100', 'after the last')
}

async function fetchAtEnd() {
  const where = await topic('tail')
  await fill(where, 1, 10)
  assert.deepEqual(await fetch(where, 0, 10, 300), [], 'records at the end')
  const waiting = fetch(where, 0, 10, 5_000)
  await sleep(300)
  const written = Date.now()
  await fill(where, 1, 1)
  assert.equal((await waiting)[0].offset, '10', 'offset')
  assert.ok(Date.now() - written < 2_000, 'the reader was woken late')
}

async function listOffsets() {
  const where = await topic('offsets', 3)
  await fill(where, 3, 31)
  const found = (await admin.fetchTopicOffsets(where)).sort((a, b) => a.partition - b.partition)
  assert.deepEqual(found.map(({ low, high }) => [low, high]), [['0', '11'], ['0', '10'], ['0', '10']], 'earliest and latest')
}

async function autoCreate() {
  const where = name('auto')
  await fill(where, 1, 10)
  await checkFilled(where, 1, 10)
}

async function config(where) {
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: where }]
  const [resource] = (await admin.describeConfigs({ includeSynonyms: false, resources })).resources
  return Object.fromEntries(resource.configEntries.map(entry => [entry.configName, entry]))
}

async function describeConfigs() {
  const found = await config(await topic('configs', 1, { 'max.message.bytes': '123456' }))
  const summary = setting => [found[setting].configValue, found[setting].configSource]
  assert.deepEqual(summary('max.message.bytes'), ['123456', CONFIG_SOURCE.TOPIC], 'max.message.bytes')
  assert.deepEqual(summary('cleanup.policy'), ['delete', CONFIG_SOURCE.DEFAULT], 'cleanup.policy')
}

async function alter(where, changes) {
  const configEntries = Object.entries(changes).map(([name, value]) => ({ name, value }))
  await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: where, configEntries }] })
  await settle()
}

async function alterConfigs() {
  // This client has only the older request, which resets what it does not name.
  const where = await topic('alter', 1, { 'retention.ms': '3600000', 'max.message.bytes': '200000' })
  await alter(where, { 'segment.bytes': '2097152', 'retention.ms': '3600000' })
  const found = await config(where)
  assert.equal(found['segment.bytes'].configValue, '2097152', 'the one set')
  assert.equal(found['retention.ms'].configValue, '3600000', 'the one repeated')
  assert.equal(found['max.message.bytes'].configValue, '1048588', 'the one not named')
}

async function createPartitions() {
  const where = await topic('grow', 3)
  await admin.createPartitions({ topicPartitions: [{ topic: where, count: 5 }] })
  await settle()
  assert.equal((await describe(where)).partitions.length, 5, 'partitions')
  await fill(where, 5, 50)
  await checkFilled(where, 5, 50)
}

async function deleteRecords() {
  const where = await topic('trim')
  await fill(where, 1, 100)
  await admin.fetchTopicOffsets(where) // this client deletes only where it has learned the leader before
  await admin.deleteTopicRecords({ topic: where, partitions: [{ partition: 0, offset: '30' }] })
  assert.equal((await admin.fetchTopicOffsets(where))[0].low, '30', 'earliest')
  const [first] = await read(where, 0, 70, 30)
  assert.deepEqual([first.offset, first.value], ['30', value(30)], 'first record')
  await fails('OFFSET_OUT_OF_RANGE', fetch(where, 0, 10))
}

async function deleteTopic() {
  const where = await topic('delete', 2)
  await fill(where, 2, 10)
  await admin.deleteTopics({ topics: [where] })
  for (const deadline = Date.now() + 10_000; (await admin.listTopics()).includes(where); await sleep(50)) {
    assert.ok(Date.now() < deadline, `${where} is still listed`)
  }
}

async function unknownTopic() {
  const where = name('unknown')
  await fails('UNKNOWN_TOPIC_OR_PARTITION', admin.deleteTopics({ topics: [where] }))
  await fails('UNKNOWN_TOPIC_OR_PARTITION', admin.fetchTopicOffsets(where))
}

async function tooLarge() {
  const where = await topic('large', 1, { 'max.message.bytes': '1000' })
  await fails('MESSAGE_TOO_LARGE', send(where, [{ value: Buffer.alloc(5_000) }]))
  assert.equal((await admin.fetchTopicOffsets(where))[0].high, '0', 'latest')
}

async function invalidConfig() {
  for (const [setting, wrong] of [['no.such.setting', '1'], ['retention.ms', 'soon'], ['cleanup.policy', 'burn']]) {
    await fails('INVALID_CONFIG', create(name('wrong'), 1, { [setting]: wrong }))
  }
  await fails('INVALID_CONFIG', alter(await topic('wrong'), { 'segment.bytes': '-5' }))
}

async function offsetOutOfRange() {
  const where = await topic('range')
  await fill(where, 1, 10)
  await fails('OFFSET_OUT_OF_RANGE', fetch(where, 0, 1_000))
}

const scenarios = {
  'create-topic': createTopic,
  'describe-topic': describeTopic,
  'list-topics': listTopics,
  'describe-cluster': describeCluster,
  'produce-none': () => filled('none', 200, { compression: CompressionTypes.None }),
  'produce-gzip': () => filled('gzip', 200, { compression: CompressionTypes.GZIP }),
  'produce-snappy': () => filled('snappy', 200, { compression: CompressionTypes.Snappy }),
  'produce-lz4': () => filled('lz4', 200, { compression: CompressionTypes.LZ4 }),
  'produce-zstd': () => filled('zstd', 200, { compression: CompressionTypes.ZSTD }),
  'acks-0': () => filled('acks0', 200, { acks: 0 }),
  'acks-1': () => filled('acks1', 200, { acks: 1 }),
  'acks-all': () => filled('acksall', 200, { acks: -1 }),
  idempotent,
  'round-trip': roundTrip,
  'append-time': appendTime,
  'big-record': bigRecord,
  'read-all': readAll,
  'fetch-from-offset': fetchFromOffset,
  'fetch-by-timestamp': fetchByTimestamp,
  'fetch-at-end': fetchAtEnd,
  'list-offsets': listOffsets,
  'auto-create': autoCreate,
  'describe-configs': describeConfigs,
  'alter-configs': alterConfigs,
  'create-partitions': createPartitions,
  'delete-records': deleteRecords,
  'delete-topic': deleteTopic,
  'error-unknown-topic': unknownTopic,
  'error-too-large': tooLarge,
  'error-invalid-config': invalidConfig,
  'error-offset-out-of-range': offsetOutOfRange,
  ...groups.scenarios,
}

async function main() {
  const only = process.argv.slice(3)
  await connect()
  for (const [scenario, why] of Object.entries(groups.leftOut)) {
    if (!only.length || only.includes(scenario)) console.log(`left out ${scenario}: ${why}`)
  }
  for (const [scenario, run] of Object.entries(scenarios)) {
    if (only.length && !only.includes(scenario)) continue
    try {
      await run()
      console.log(`ok ${scenario}`)
    } catch (error) {
      process.exitCode = 1
      console.log(`FAILED ${scenario}: ${String(error.stack).replace(/\s*\n\s*/g, ' ').slice(0, 400)}`)
    }
  }
  await disconnect()
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
