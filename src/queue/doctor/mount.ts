/**
 * What lies under the queue directory: the mount it is on, from the text of /proc/self/mounts, and whether its kind and options
 * suit a queue. Pure; the advice is from measurements of NFS clients and from nfs(5).
 */
import type { Finding } from './finding.ts';

export interface Mount {
  device: string;
  point: string;
  type: string;
  options: string[];
}

/** The mount that holds `path` (without symbolic links): the longest mount point above it, of several the last mounted. */
export function mountOf(path: string, mounts: string): Mount | undefined {
  let best: Mount | undefined;
  for (const line of mounts.split('\n')) {
    const [device, point, type, options] = line.split(' ').map(unescape);
    if (device === undefined || point === undefined || type === undefined || options === undefined) continue;
    const above = point === '/' || path === point || path.startsWith(`${point}/`);
    if (above && (best === undefined || point.length >= best.point.length)) best = { device, point, type, options: options.split(',') };
  }
  return best;
}

/** Blanks and the like are written as `\040`. */
function unescape(word: string): string {
  return word.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** What is better in the options of an NFS mount. */
const NFS_ADVICE = 'mount it with vers=4.2,hard,proto=tcp (lookupcache=positive and acdirmax=10 let other machines see changes sooner)';

export function judgeMount(mount: Mount): Finding[] {
  if (mount.type === 'nfs' || mount.type === 'nfs4') return judgeNfs(mount);
  const file = mount.point;
  if (mount.type === 'fuse.sshfs') {
    return [
      {
        level: 'warning',
        code: 'sshfs',
        message: 'sshfs: its renames and caches are not safe between machines',
        file,
        fix: 'use it from one machine only, or put the queue on NFS',
      },
    ];
  }
  if (mount.type === 'cifs' || mount.type === 'smb3' || mount.type === 'smbfs') {
    return [
      {
        level: 'warning',
        code: 'smb',
        message: 'SMB: hard links may be missing, and open files cannot be renamed',
        file,
        fix: 'put the queue on NFS or on a local disk',
      },
    ];
  }
  if (mount.type.startsWith('fuse') || UNPROVED.has(mount.type)) {
    return [
      {
        level: 'warning',
        code: 'fuse',
        message: `${mount.type}: whether its renames hold between machines is not known`,
        file,
        fix: 'use it from one machine only, or put the queue on NFS',
      },
    ];
  }
  return [];
}

/** File systems of virtual machines that share a directory with their host. */
const UNPROVED: ReadonlySet<string> = new Set(['9p', 'vboxsf', 'prl_fs', 'drvfs', 'virtiofs', 'davfs']);

function judgeNfs({ point: file, options }: Mount): Finding[] {
  const findings: Finding[] = [];
  const say = (level: 'error' | 'warning', code: string, message: string): void =>
    void findings.push({ level, code, message, file, fix: NFS_ADVICE });
  const has = (option: string): boolean => options.includes(option);
  const value = (name: string): string | undefined => options.find((o) => o.startsWith(`${name}=`))?.slice(name.length + 1);
  if (has('nocto')) say('error', 'nocto', 'NFS mounted nocto: a file just written by another machine may be read as it was before');
  if (has('soft') || has('softerr'))
    say(
      'warning',
      'soft',
      'NFS mounted soft: when the server is slow, writes fail half done instead of waiting, and running tasks lose output',
    );
  if (has('noac')) say('warning', 'noac', 'NFS mounted noac: not needed, and every look costs a call to the server');
  if (value('proto') === 'udp') say('warning', 'udp', 'NFS over UDP: large writes can be corrupted silently');
  if (value('vers') === '2') say('error', 'nfs2', 'NFS version 2 has no exclusive create');
  const slowest = Math.max(...['acdirmax', 'acregmax', 'actimeo'].map((name) => Number(value(name) ?? 0)));
  if (slowest > LONGEST_CACHE_S)
    say('warning', 'caches', `NFS caches attributes for ${slowest} s: this machine sees the changes of others late`);
  return findings;
}

/** The longest default of nfs(5), s. */
const LONGEST_CACHE_S = 60;

/** Folders that programs copy between machines behind everybody's back, by a name on the way or by what those programs leave there. */
const SYNCED: ReadonlyArray<{ program: string; name: RegExp; marks: readonly string[] }> = [
  { program: 'Dropbox', name: /^Dropbox( \(.*\))?$/, marks: ['.dropbox', '.dropbox.cache'] },
  { program: 'OneDrive', name: /^OneDrive( - .*)?$/, marks: ['.849C9593-D756-4E56-8D6E-42412F2A707B'] },
  { program: 'iCloud', name: /^(Mobile Documents|com~apple~CloudDocs|iCloudDrive)$/, marks: [] },
  { program: 'Google Drive', name: /^(Google Drive|GoogleDrive.*|My Drive)$/, marks: ['.tmp.drivedownload', '.tmp.driveupload'] },
  { program: 'Nextcloud or ownCloud', name: /^(Nextcloud|ownCloud)$/i, marks: ['.nextcloudsync.log', '.owncloudsync.log'] },
  { program: 'Syncthing', name: /^$/, marks: ['.stfolder'] },
];

/** The program that synchronises a folder above `path`, if any; `exists` looks for a file. */
export function syncedBy(path: string, exists: (file: string) => boolean): string | undefined {
  const parts = path.split('/');
  for (let depth = parts.length; depth > 1; depth--) {
    const folder = parts.slice(0, depth).join('/');
    for (const { program, name, marks } of SYNCED) {
      if (name.test(parts[depth - 1]!) || marks.some((mark) => exists(`${folder}/${mark}`))) return program;
    }
  }
  return undefined;
}
