import type { Disturbance, Evidence, Request } from './evidence.ts'
import { verdictOf, type Verdict } from './verdict.ts'

/**
 * I7: requests fail only where something was killed from outside under them, and only where there is
 * evidence that it was under them; those are counted apart.
 */
export function noRequestLost(evidence: Evidence): Verdict {
  const excuses = [...handsOn(evidence), ...edgeAway(evidence)]
  const failed = evidence.requests.filter(({ ok }) => !ok)
  const broken = failed.filter((request) => !excuses.some((excused) => excused(request)))
  const promise = 'no accepted request is lost in a change'
  return verdictOf(
    { id: 'I7', promise, apart: failed.length - broken.length },
    evidence.requests.length,
    broken.map(
      ({ at, environment, error, id, instance }) =>
        `${environment} ${new Date(at).toISOString()} ${id} on ${instance || 'no instance'}: ${error}`,
    ),
  )
}

type Excuse = (request: Request) => boolean

/**
 * Somebody laid hands on an instance: the request was under way in its environment between the hand and
 * the instance's end, which the engine told; and the edge named that very instance, or could only cut the
 * connection, as it does with one that has served a request before. Any other answer is no excuse.
 */
function handsOn({ disturbances, containers }: Evidence): Excuse[] {
  const made = new Map(containers.map((event) => [event.id, event]))
  const ends = new Map(
    containers.filter(({ action }) => action === 'die').map(({ id, at }) => [id, at]),
  )
  return disturbances
    .filter(({ what }) => what === 'outside')
    .flatMap(({ at, until, containers: hands }) =>
      hands.map((id): Excuse => {
        const { name, environment } = made.get(id) ?? { name: null, environment: null }
        // An engine that was killed right then told nothing: then it was over when it was replaced.
        const end = ends.get(id) ?? until
        return (request) =>
          request.environment === environment &&
          (request.instance === name || isCut(request)) &&
          overlaps(request, { at, until: end })
      }),
    )
}

/** HAProxy was killed: connections were cut or refused while it was away. */
function edgeAway({ disturbances }: Evidence): Excuse[] {
  return disturbances
    .filter(({ what, target }) => what === 'kill' && target === 'haproxy')
    .map(
      (away): Excuse =>
        (request) =>
          isCut(request) && overlaps(request, away),
    )
}

/** Nobody answered, good or bad. */
function isCut({ instance, error }: Request): boolean {
  return instance === '' && !/status \d/.test(error)
}

function overlaps(request: Request, { at, until }: Pick<Disturbance, 'at' | 'until'>): boolean {
  return request.at <= until && request.at + request.ms >= at
}
