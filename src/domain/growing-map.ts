type Entries<K, V> = Map<K, { value: V; place: number }>

/**
 * A map that is never changed: `with` gives the next one. The newest shares its entries with all before
 * it, so that a fold over a long log pays for an entry once, and not again for every entry after it.
 */
export class GrowingMap<K, V> implements ReadonlyMap<K, V> {
  readonly size: number
  /** In order of insertion; an entry is in every map that is larger than its place. */
  readonly #entries: Entries<K, V>

  constructor(entries: Entries<K, V> = new Map(), size = 0) {
    this.#entries = entries
    this.size = size
  }

  /** A new key in the newest map costs nothing but itself; anything else copies the map. */
  with(key: K, value: V): GrowingMap<K, V> {
    const isNewest = this.#entries.size === this.size && !this.#entries.has(key)
    const entries = isNewest ? this.#entries : this.#copy()
    entries.set(key, { value, place: entries.get(key)?.place ?? entries.size })
    return new GrowingMap(entries, entries.size)
  }

  get(key: K): V | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.place < this.size ? entry.value : undefined
  }

  has(key: K): boolean {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.place < this.size
  }

  forEach(visit: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) visit(value, key, this)
  }

  *entries(): MapIterator<[K, V]> {
    for (const [key, { value, place }] of this.#entries) {
      if (place < this.size) yield [key, value]
    }
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries()
  }

  #copy(): Entries<K, V> {
    return new Map([...this.entries()].map(([key, value], place) => [key, { value, place }]))
  }
}
