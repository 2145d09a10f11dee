import type { ContainerCreateOptions, MountSettings } from 'dockerode'
import type { Definition } from '../domain/definition.ts'
import { KilnError } from '../domain/error.ts'
import { writeLabels, type InstanceLabels } from './label.ts'

const megabyte = 1024 * 1024

export type ContainerPlan = {
  name: string
  number: number
  /** The image's config digest, which is its id in the engine. */
  imageId: string
  network: string
  definition: Definition
  /** The host's folder with the values of its secrets; null when it has none. */
  secrets: string | null
  labels: InstanceLabels
}

/**
 * The hardened container: nothing published, nothing writable but a bounded /tmp, no capabilities, no way
 * to gain any, and bounds on memory, CPU, processes and logs. The engine never restarts it: the host does.
 */
export function containerOptions(plan: ContainerPlan): ContainerCreateOptions {
  const { config, port, resources } = plan.definition
  const memory = resources.memoryMb * megabyte
  return {
    name: plan.name,
    Hostname: hostName(plan),
    Image: plan.imageId,
    Env: Object.entries({ ...config, PORT: String(port) }).map(
      ([name, value]) => `${name}=${value}`,
    ),
    Labels: writeLabels(plan.labels),
    HostConfig: {
      NetworkMode: plan.network,
      PublishAllPorts: false,
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges:true'],
      Privileged: false,
      Memory: memory,
      MemorySwap: memory,
      NanoCpus: Math.round(resources.cpus * 1e9),
      PidsLimit: resources.pids,
      Tmpfs: { '/tmp': 'rw,nosuid,nodev,noexec,size=64m,mode=1777' },
      Mounts: secretMounts(plan),
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
    },
  }
}

/** The engine's record of the container says where they are, and never what they are. */
function secretMounts({ secrets }: ContainerPlan): MountSettings[] {
  return secrets === null
    ? []
    : [{ Type: 'bind', Source: secrets, Target: '/run/secrets', ReadOnly: true }]
}

/** A DNS label of at most 63 characters: the app's name is at most 40. */
function hostName({ labels, number }: ContainerPlan): string {
  const [app = ''] = labels.environment.split('/')
  return `${app}-${labels.epoch}-${number}`
}

/**
 * Refuses an image that runs as root. Only a number proves who it is: a name means whatever the image's
 * own /etc/passwd says.
 */
export function assertNotRoot(user: string | undefined): void {
  const [uid = ''] = (user ?? '').split(':')
  if (/^[1-9]\d*$/.test(uid)) return
  throw new KilnError('refused', `the image runs as ${user ? `"${user}"` : 'root'}`, {
    place: 'USER',
    fix: 'name a user other than root by number in the template, for example USER 901:901',
  })
}
