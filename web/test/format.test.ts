import { describe, expect, it } from 'vitest'
import { errorOf, queryString } from '@/api/http'
import { ago, bytes, changes, grouped, mib, parseMib, percent, toAddress, toNumber, took } from '@/format'

describe('format', () => {
  it('writes sizes as people read them', () => {
    expect(mib(10240)).toBe('10 GiB')
    expect(mib(1536)).toBe('1.5 GiB')
    expect(bytes(0)).toBe('0 B')
    expect(mib(undefined)).toBe('–')
  })
  it('reads sizes as people write them', () => {
    expect(parseMib('20g')).toBe(20480)
    expect(parseMib(' 1.5 GiB ')).toBe(1536)
    expect(parseMib('512')).toBe(512)
    expect(parseMib('2T')).toBe(2 * 1024 * 1024)
    expect(parseMib('ten')).toBeNaN()
    for (const n of [8, 512, 10240, 1 << 20]) expect(parseMib(mib(n))).toBe(n)
  })
  it('says how long ago', () => {
    const now = Date.parse('2026-01-01T12:00:00Z')
    expect(ago('2026-01-01T11:57:00Z', 'en', now)).toBe('3 minutes ago')
    expect(ago('2026-01-01T11:57:00Z', 'zh-CN', now)).toBe('3分钟前')
    expect(ago('', 'en', now)).toBe('–')
    // A clock that is ahead does not make the past the future.
    expect(ago('2026-01-01T12:00:05Z', 'en', now)).toBe('now')
    expect(took('2026-01-01T12:00:00Z', '2026-01-01T12:00:01.234Z')).toBe('1.2 s')
  })
  it('counts addresses', () => {
    expect(toAddress(toNumber('192.168.222.254') + 2)).toBe('192.168.223.0')
    expect(percent(1, 0)).toBe(0)
    expect([0, 999, 1000, 1234567].map(grouped)).toEqual(['0', '999', '1,000', '1,234,567'])
  })
  it('reads what an event changed', () => {
    expect(changes('{"name":{"old":"a","new":"b"}}')).toEqual([{ field: 'name', old: 'a', new: 'b' }])
    expect(changes('plain words')).toBeNull()
  })
})

describe('wire', () => {
  it('repeats keys of lists and leaves out what is empty', () => expect(queryString({ id: ['a', 'b'], search: '', limit: 0, scope: undefined })).toBe('?id=a&id=b&limit=0'))
  it('reads an error of whoever wrote it', () => {
    const e = errorOf(409, '{"code":409,"class":"InvalidStatusError","details":"stop it first","request_id":"r1"}')
    expect([e.status, e.kind, e.message, e.requestId]).toEqual([409, 'InvalidStatusError', 'stop it first', 'r1'])
    expect(errorOf(502, '<html>bad gateway</html>').message).toBe('HTTP 502')
  })
})
