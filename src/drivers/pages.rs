//! Pages of the program's own file that are no longer needed, given back.
//!
//! A start runs much code once, and the kernel maps what lies around each page that is touched. Most of what a
//! daemon at rest keeps resident is that. What is given back stays in the page cache for as long as the machine
//! has memory to spare, and the pages that are still needed are mapped again at the first touch, without a read.

use rustix::mm::{Advice, madvise};
use std::io;

/// The ranges of addresses at which `exe` is mapped as code, in the words of `/proc/self/maps`: never written, by
/// nobody, so that a page can be read anew from the file.
fn code_of(maps: &str, exe: &str) -> Vec<(usize, usize)> {
    let lines = maps.lines().filter_map(|line| {
        // address perms offset dev inode path
        let mut words = line.split_ascii_whitespace();
        let (range, perms) = (words.next()?, words.next()?);
        let path = line.split_once('/')?.1;
        let ours = perms == "r-xp" && exe.strip_prefix('/') == Some(path);
        let (low, high) = range.split_once('-').filter(|_| ours)?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some((address(low)?, address(high)?))
    });
    lines.filter(|(low, high)| low < high).collect()
}

/// Gives back the pages of this program's code; those in use come back by themselves. Bytes that were mapped.
///
/// # Errors
/// The system's.
pub fn give_back_code() -> io::Result<usize> {
    let exe = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mut bytes = 0;
    for (low, high) in code_of(&maps, &exe.to_string_lossy()) {
        let start = std::ptr::with_exposed_provenance_mut(low);
        #[expect(
            unsafe_code,
            reason = "the range is code of this program's file, mapped privately and without write permission: \
                      a page that is dropped is read from the file again, the same"
        )]
        // SAFETY: see the reason; nothing is unmapped, and no page in the range can differ from the file's.
        unsafe {
            madvise(start, high - low, Advice::LinuxDontNeed)?;
        }
        bytes += high - low;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_itself_is_given_back() {
        let maps = "\
55d0a0000000-55d0a0100000 r--p 00000000 fd:00 12 /usr/bin/lain x
55d0a0100000-55d0a0300000 r-xp 00100000 fd:00 12 /usr/bin/lain x
55d0a0300000-55d0a0310000 rw-p 00300000 fd:00 12 /usr/bin/lain x
55d0a0310000-55d0a0320000 rwxp 00310000 fd:00 12 /usr/bin/lain x
7f0000000000-7f0000100000 r-xp 00000000 fd:00 13 /lib/libc.so.6
7f0000200000-7f0000300000 r-xp 00000000 00:00 0 
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]
";
        let code = code_of(maps, "/usr/bin/lain x");
        assert_eq!(code, [(0x55d0_a010_0000, 0x55d0_a030_0000)]);
        assert_eq!(code_of(maps, "/usr/bin/lain"), []);
    }

    #[test]
    fn what_was_given_back_runs_on() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|l| l.strip_prefix("RssFile:"));
            let kb = line.unwrap().trim().trim_end_matches(" kB");
            kb.parse::<u64>().unwrap()
        };
        let before = resident();
        let bytes = give_back_code().unwrap();
        assert!(bytes > 0);
        assert!(resident() < before, "{before} kB");
        assert!(give_back_code().unwrap() == bytes);
    }
}
