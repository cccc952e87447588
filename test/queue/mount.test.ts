/** What a mount says about its fitness for a queue. */
import { describe, expect, it } from 'vitest';
import { judgeMount, mountOf, syncedBy } from '../../src/queue/doctor/mount.ts';

const MOUNTS = `/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export /mnt/team nfs4 rw,relatime,vers=4.2,soft,proto=tcp,acdirmax=60 0 0
server:/export /mnt/team\\040two nfs rw,vers=3,hard,nocto,noac,proto=udp,actimeo=600 0 0
server:/other /mnt/team/inner nfs4 rw,vers=4.1,hard,proto=tcp 0 0
someone@host: /home/me/far fuse.sshfs rw,user_id=0 0 0
`;

describe('the mount of a directory', () => {
  it('is the one with the longest point above it, and a point is no prefix of a name', () => {
    expect(mountOf('/mnt/team/q', MOUNTS)?.point).toBe('/mnt/team');
    expect(mountOf('/mnt/team', MOUNTS)?.point).toBe('/mnt/team');
    expect(mountOf('/mnt/team/inner/q', MOUNTS)?.point).toBe('/mnt/team/inner');
    expect(mountOf('/mnt/team two/q', MOUNTS)?.type).toBe('nfs');
    expect(mountOf('/mnt/teams/q', MOUNTS)?.point).toBe('/');
    expect(mountOf('/q', '')).toBeUndefined();
  });

  it('of several at one point the last one counts', () => {
    expect(mountOf('/a/q', '/dev/x /a ext4 rw 0 0\nserver:/ /a nfs4 rw,hard 0 0\n')?.type).toBe('nfs4');
  });
});

describe('options and kinds', () => {
  const codes = (path: string): string[] => judgeMount(mountOf(path, MOUNTS)!).map((f) => `${f.level} ${f.code}`);

  it('L3: soft hurts, and what is better is said', () => {
    expect(codes('/mnt/team/q')).toEqual(['warning soft']);
    expect(judgeMount(mountOf('/mnt/team/q', MOUNTS)!)[0]?.fix).toContain('hard');
  });

  it('L3: nocto is an error; noac, UDP and long caches are warnings; a good mount and a local disk are fine', () => {
    expect(codes('/mnt/team two/q').toSorted()).toEqual(['error nocto', 'warning caches', 'warning noac', 'warning udp']);
    expect(codes('/mnt/team/inner/q')).toEqual([]);
    expect(codes('/var/q')).toEqual([]);
  });

  it('L3: sshfs, SMB and other file systems of programs are warned of', () => {
    expect(codes('/home/me/far/q')).toEqual(['warning sshfs']);
    const kind = (type: string): string[] => judgeMount({ device: 'x', point: '/x', type, options: [] }).map((f) => f.code);
    expect(kind('cifs')).toEqual(['smb']);
    expect(kind('fuse.s3fs')).toEqual(['fuse']);
    expect(kind('9p')).toEqual(['fuse']);
    expect(kind('xfs')).toEqual([]);
  });
});

describe('folders that are copied', () => {
  const none = (): boolean => false;

  it('L3: are told by their names', () => {
    expect(syncedBy('/home/me/Dropbox/q', none)).toBe('Dropbox');
    expect(syncedBy('/home/me/Dropbox (Team)/a/b/q', none)).toBe('Dropbox');
    expect(syncedBy('/home/me/OneDrive - Firm/q', none)).toBe('OneDrive');
    expect(syncedBy('/home/me/Library/Mobile Documents/com~apple~CloudDocs/q', none)).toBe('iCloud');
    expect(syncedBy('/home/me/dropbox-notes/q', none)).toBeUndefined();
    expect(syncedBy('/home/me/q', none)).toBeUndefined();
  });

  it('L3: or by what the program leaves there', () => {
    expect(syncedBy('/data/stuff/q', (file) => file === '/data/stuff/.stfolder')).toBe('Syncthing');
    expect(syncedBy('/data/stuff/q', (file) => file === '/data/.dropbox.cache')).toBe('Dropbox');
  });
});
