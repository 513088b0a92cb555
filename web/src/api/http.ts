// Every request of the console goes through here: one place for headers, errors and the end of a session. Knows no resource.
import { languageHeader, taken } from './ahead'

/** A refusal as the platform words it: what to change, its class, and the id under which the services' logs tell more. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    message: string,
    readonly requestId: string,
  ) {
    super(message)
  }
}

export type Query = Record<string, string | number | boolean | string[] | undefined | null>

/** `a=1&b=x&b=y`; empty values are left out, lists repeat their key. */
export function queryString(query: Query = {}): string {
  const out = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === '') continue
    for (const one of Array.isArray(value) ? value : [value]) out.append(key, String(one))
  }
  const text = out.toString()
  return text ? `?${text}` : ''
}

const expired = new Set<() => void>()
/** Calls back when the session has ended. */
export const onExpired = (call: () => void) => expired.add(call)

let renewals = 0
let renewed = 0
/** Does what gives the browser another session. What was asked with the one before it may be refused meanwhile, and no session has ended by that. */
export async function renewing<T>(work: () => Promise<T>): Promise<T> {
  renewals++
  try {
    return await work()
  } finally {
    renewals--
    renewed++
  }
}

let language = 'en'
export const speak = (lang: string) => (language = lang)
export const headers = () => languageHeader(language)

/** The error of an answer's body, whoever wrote it: a service, the gateway or a proxy in front. */
export function errorOf(status: number, text: string): ApiError {
  try {
    const body = JSON.parse(text)
    const details = typeof body.details === 'string' ? body.details : (body.error?.message ?? text)
    return new ApiError(status, body.class ?? body.error?.class ?? 'Error', details, body.request_id ?? body.request?.id ?? '')
  } catch {
    return new ApiError(status, 'HTTP', text.length < 300 && !text.includes('<') ? text || `HTTP ${status}` : `HTTP ${status}`, '')
  }
}

/** @throws ApiError for every refusal, and with status 0 when nothing answered. */
export async function call<T = any>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, headers: headers(), credentials: 'same-origin', signal }
  if (body !== undefined) {
    init.body = JSON.stringify(body)
    init.headers = { ...headers(), 'content-type': 'application/json' }
  }
  const [before, alone] = [renewed, !renewals]
  let answer: Response
  try {
    answer = await ((method === 'GET' && taken(path)) || fetch(`/api${path}`, init))
  } catch (cause) {
    if ((cause as Error).name === 'AbortError') throw cause
    throw new ApiError(0, 'Unreachable', '', '')
  }
  const text = await answer.text()
  if (answer.ok) return (text && /json/.test(answer.headers.get('content-type') ?? '') ? JSON.parse(text) : text) as T
  const error = errorOf(answer.status, text)
  if (answer.status === 401 && !path.startsWith('/v1/auth/login') && alone && !renewals && before === renewed) for (const tell of expired) tell()
  throw error
}

export const get = <T = any>(path: string, query?: Query, signal?: AbortSignal) => call<T>('GET', path + queryString(query), undefined, signal)
export const post = <T = any>(path: string, body: unknown = {}, query?: Query) => call<T>('POST', path + queryString(query), body)
export const put = <T = any>(path: string, body: unknown = {}, query?: Query) => call<T>('PUT', path + queryString(query), body)
export const del = <T = any>(path: string, query?: Query) => call<T>('DELETE', path + queryString(query))
