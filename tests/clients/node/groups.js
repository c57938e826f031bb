'use strict'
// Groups with kafkajs: members, committed offsets, and what an administrator does with them.

const assert = require('node:assert/strict')
const { AssignerProtocol } = require('kafkajs')
const { admin, fails, fill, join, name, sleep, topic, value } = require('./client')

const WAIT_MS_MAX = 20_000

async function until(condition, otherwise) {
  for (const deadline = Date.now() + WAIT_MS_MAX; !(await condition()); await sleep(20)) {
    assert.ok(Date.now() < deadline, otherwise())
  }
}

/** A member has read `count` records, and no more a little later; takes them out of what it has read. */
async function taken(member, count) {
  await until(() => member.records.length >= count, () => `records read: expected ${count}, found ${member.records.length}`)
  await sleep(100)
  const records = member.records.splice(0)
  assert.equal(records.length, count, 'records read')
  return records
}

/** Each record once, in order and without a gap in every partition, from `first` on. */
function checkNumbered(records, partitions, first = 0) {
  const next = Array(partitions).fill(first)
  for (const { partition, offset, value: found } of records) {
    const position = next[partition]++
    assert.equal(offset, String(position), `partition ${partition} offset`)
    assert.deepEqual(found, value((position - first) * partitions + partition), `partition ${partition} record ${position}`)
  }
}

/** Waits until so many partitions are shared evenly by the members. */
async function balance(count, ...members) {
  const even = () => members.every(({ assigned }) => assigned.length === count / members.length)
  const all = () => new Set(members.flatMap(({ assigned }) => assigned))
  await until(() => even() && all().size === count, () => `not balanced: ${JSON.stringify(members.map(m => m.assigned))}`)
}

async function groupRead() {
  const [where, group] = [await topic('group', 3), name('read')]
  await fill(where, 3, 300)
  const first = await join(group, where, { autoCommit: true })
  checkNumbered(await taken(first, 300), 3)
  await first.leave()
  await fill(where, 3, 30)
  const second = await join(group, where, { autoCommit: true })
  checkNumbered(await taken(second, 30), 3, 100)
  await second.leave()
}

async function groupCommit() {
  const [where, group] = [await topic('commit', 2), name('commit')]
  await fill(where, 2, 20)
  const first = await join(group, where)
  await taken(first, 20)
  const commit = (offset, metadata) => first.consumer.commitOffsets([{ topic: where, partition: 0, offset, metadata }])
  await commit('4', 'as far as four')
  await fails('OFFSET_METADATA_TOO_LARGE', commit('5', 'x'.repeat(5_000)))
  assert.deepEqual(await committed(group, where), ['4:as far as four', '-1:'], 'committed')
  first.consumer.seek({ topic: where, partition: 0, offset: '2' })
  assert.equal((await taken(first, 8))[0].offset, '2', 'first offset after seeking')
  await first.leave()
  const next = await join(group, where, { fromBeginning: false })
  const found = (await taken(next, 6)).map(({ partition, offset }) => `${partition}:${offset}`)
  assert.deepEqual(found, ['0:4', '0:5', '0:6', '0:7', '0:8', '0:9'], 'read by the next')
  await next.leave()
}

async function groupTwoMembers() {
  const [where, group] = [await topic('two', 4), name('two')]
  const [stays, leaves] = await Promise.all([join(group, where, { autoCommit: true }), join(group, where, { autoCommit: true })])
  await balance(4, stays, leaves)
  await fill(where, 4, 40)
  const shared = []
  for (const member of [stays, leaves]) {
    const records = await taken(member, 20)
    assert.ok(records.every(({ partition }) => member.assigned.includes(partition)), "a record of another's partition")
    shared.push(...records)
  }
  checkNumbered(shared, 4)
  await leaves.leave()
  await balance(4, stays)
  await fill(where, 4, 20)
  checkNumbered(await taken(stays, 20), 4, 10)
  await stays.leave()
}

/** `offset:metadata` of each partition, as an administrator sees it. */
async function committed(group, where) {
  const [found] = await admin.fetchOffsets({ groupId: group, topics: [where] })
  return found.partitions.sort((a, b) => a.partition - b.partition).map(p => `${p.offset}:${p.metadata || ''}`)
}

const described = async group => (await admin.describeGroups([group])).groups[0]
const listed = async group => (await admin.listGroups()).groups.filter(found => found.groupId === group)

async function groupAdmin() {
  const [where, group] = [await topic('admin', 2), name('admin')]
  await fill(where, 2, 20)
  await unknown(group, where)
  const member = await join(group, where, { autoCommit: true })
  await taken(member, 20)
  assert.deepEqual(await listed(group), [{ groupId: group, protocolType: 'consumer' }], 'listed')
  const found = await described(group)
  assert.deepEqual([found.state, found.protocol], ['Stable', 'RoundRobinAssigner'], 'state and assignor')
  assert.deepEqual(found.members.map(one => one.clientId), ['node'], 'client ids')
  const { assignment } = AssignerProtocol.MemberAssignment.decode(found.members[0].memberAssignment)
  assert.deepEqual({ ...assignment }, { [where]: [0, 1] }, 'assignment')
  await failsOf(group, 'NON_EMPTY_GROUP')
  await member.leave()
  assert.equal((await described(group)).state, 'Empty', 'state without members')
  assert.deepEqual(await committed(group, where), ['10:', '10:'], 'committed')
  await admin.setOffsets({ groupId: group, topic: where, partitions: [{ partition: 0, offset: '3' }] })
  assert.deepEqual(await committed(group, where), ['3:', '10:'], 'offsets after moving one')
  const reader = await join(group, where)
  assert.equal((await taken(reader, 7))[0].offset, '3', 'first offset read after moving')
  await reader.leave()
  await admin.resetOffsets({ groupId: group, topic: where, earliest: true })
  const again = await join(group, where)
  checkNumbered(await taken(again, 20), 2)
  await again.leave()
  await admin.deleteGroups([group])
  assert.deepEqual(await listed(group), [], 'listed after deleting')
  await unknown(group, where)
}

async function unknown(group, where) {
  assert.equal((await described(group)).state, 'Dead', 'state of an unknown group')
  await failsOf(group, 'GROUP_ID_NOT_FOUND')
  assert.deepEqual(await committed(group, where), ['-1:', '-1:'], 'offsets of an unknown group')
}

/** Deleting the group is refused for this reason. */
async function failsOf(group, type) {
  const refused = await admin.deleteGroups([group]).then(() => [], error => error.groups)
  assert.deepEqual(refused.map(({ groupId, error }) => [groupId, error.type]), [[group, type]], 'deleting')
}

module.exports = {
  scenarios: {
    'group-read': groupRead,
    'group-commit': groupCommit,
    'group-two-members': groupTwoMembers,
    'group-admin': groupAdmin,
  },
  leftOut: {
    'group-static': 'kafkajs has no static members',
    'group-consumer-protocol': 'kafkajs has no KIP-848',
  },
}
