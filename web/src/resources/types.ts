// A resource is a description: which columns it has, what can be done to it and when not, what its page shows. Pages are made from it.
import type { Component } from 'vue'
import type { Row } from '@/api/resource'
import type { Scope } from '@/api/session'

/** A message and what goes into it. */
export type Words = [key: string, args?: Record<string, unknown>]
/** How a value is shown. Left out: as text. */
export type As = 'status' | 'mib' | 'bytes' | 'time' | 'bool' | 'list' | 'mono' | 'json' | 'percent' | 'os'

export interface Column {
  key: string
  /** Key under `field.`; left out: `key`. */
  label?: string
  as?: As
  /** Pixels; the name column takes what is left. */
  width?: number
  sort?: boolean
  /** Shown only when chosen. */
  more?: boolean
  /** The row it names: plural and field of the id. */
  link?: [plural: string, idField: string]
  /** The value, when it is not the field itself. */
  value?: (row: Row) => unknown
}

export interface Filter {
  key: string
  /** Fixed words, translated under `status.` or `option.`. */
  options?: string[]
  words?: 'status' | 'option'
  /** Rows of another resource. */
  of?: string
}

export interface Field {
  key: string
  label?: string
  kind: 'text' | 'number' | 'size' | 'select' | 'bool' | 'area' | 'password' | 'ref' | 'refs'
  required?: boolean
  options?: string[]
  /** Resource a reference is chosen from. */
  of?: string
  query?: Record<string, string | boolean | number>
  initial?: unknown | ((row: Row) => unknown)
  /** Key under `help.`. */
  help?: string
  min?: number
  max?: number
  /** Goes on the wire under this name when it differs. */
  wire?: string
}

export interface Action {
  /** Word on the wire, and key under `act.`. */
  key: string
  /** Path of the call when it is not the key. */
  wire?: string
  icon?: Component
  danger?: boolean
  /** `servers/perform/start`; without it the action is not shown. */
  right: string
  /** Why not now; null when it can be done. */
  why?: (row: Row) => Words | null
  form?: Field[]
  /** Shapes the form's values for the wire. */
  body?: (values: Record<string, any>, row: Row) => unknown
  query?: Record<string, string | boolean>
  /** What else it touches, looked up before it is confirmed. */
  blast?: (row: Row) => Promise<Words[]>
  /** Asked for even without a form. */
  confirm?: boolean
  /** The row is expected to say this at once. */
  expect?: string
  bulk?: boolean
  method?: 'perform' | 'update' | 'delete'
  /** The call that takes it back, offered for some seconds. */
  undo?: { action: string; body?: unknown }
}

export interface Tab {
  key: string
  show?: (row: Row) => boolean
  /** A related list: resource and the query that narrows it. */
  list?: { plural: string; query: (row: Row) => Record<string, string>; columns?: string[] }
  /** A page part of its own. */
  part?: () => Promise<{ default: Component }>
}

export interface Description {
  plural: string
  singular: string
  service: 'compute' | 'identity' | 'image'
  /** Natural scope: what its rights are asked for. */
  scope: Scope
  group: 'compute' | 'network' | 'storage' | 'infrastructure' | 'access' | 'operations'
  icon: Component
  columns: Column[]
  filters?: Filter[]
  /** Fields of the overview tab beyond the columns. */
  facts?: Column[]
  actions: Action[]
  tabs?: Tab[]
  create?: { form?: Field[]; to?: string; body?: (values: Record<string, any>) => unknown }
  /** Resources whose changes concern this one's page. */
  hears?: string[]
  /** Always sent with the list. */
  query?: Record<string, string | boolean>
  order?: [string, 'asc' | 'desc']
  /** Not in the menu. */
  inner?: boolean
  /** Rows have no page of their own. */
  flat?: boolean
  bin?: boolean
}
