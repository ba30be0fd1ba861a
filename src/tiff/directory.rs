//! Directories of tags: TIFF 6.0, section 2, and BigTIFF, which has eight bytes where TIFF has four.

/// Whether offsets have four bytes or eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Classic,
    Big,
}

impl Form {
    /// The bytes of an offset, and those of values that stand in the directory itself.
    fn word(self) -> usize {
        match self {
            Self::Classic => 4,
            Self::Big => 8,
        }
    }

    fn header(self) -> usize {
        match self {
            Self::Classic => 8,
            Self::Big => 16,
        }
    }

    /// The bytes of how many entries a directory has, and of an entry.
    fn entries(self) -> (usize, usize) {
        match self {
            Self::Classic => (2, 12),
            Self::Big => (8, 20),
        }
    }

    fn put(self, value: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(value.to_le_bytes().get(..self.word()).unwrap_or_default());
    }
}

/// The values of a tag.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Shorts(Vec<u16>),
    Longs(Vec<u32>),
    Doubles(Vec<f64>),
    Text(String),
    /// Offsets, each greater by `step` than the one before.
    Offsets {
        first: u64,
        step: u64,
        count: u64,
    },
    /// As many byte counts of this value.
    Counts {
        value: u64,
        count: u64,
    },
}

impl Values {
    /// TIFF's number for their type, the bytes of one, and how many there are.
    fn kind(&self, form: Form) -> (u16, u64, u64) {
        match self {
            Self::Shorts(values) => (3, 2, values.len() as u64),
            Self::Longs(values) => (4, 4, values.len() as u64),
            Self::Doubles(values) => (12, 8, values.len() as u64),
            // With a NUL at the end.
            Self::Text(text) => (2, 1, text.len() as u64 + 1),
            Self::Offsets { count, .. } => match form {
                Form::Classic => (4, 4, *count),
                Form::Big => (16, 8, *count),
            },
            Self::Counts { value, count } if *value <= u64::from(u16::MAX) => (3, 2, *count),
            Self::Counts { count, .. } => (4, 4, *count),
        }
    }

    /// The values as bytes; of numbers that are sums, an array in place of these, unless they stand in the directory.
    fn bytes(&self, width: u64, form: Form) -> Result<Vec<u8>, Array> {
        let sums = |first: u64, step: u64, count: u64| {
            let array = Array { start: 0, count, width, first, step };
            if array.end() > form.word() as u64 {
                return Err(array);
            }
            let mut bytes = vec![0; array.end() as usize];
            array.read(0, &mut bytes);
            Ok(bytes)
        };
        match self {
            Self::Shorts(values) => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Self::Longs(values) => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Self::Doubles(values) => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Self::Text(text) => Ok([text.as_bytes(), b"\0"].concat()),
            Self::Offsets { first, step, count } => sums(*first, *step, *count),
            Self::Counts { value, count } => sums(*value, 0, *count),
        }
    }
}

/// Numbers that are sums, which stand in the file as an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Array {
    /// Where it begins.
    pub(super) start: u64,
    count: u64,
    /// The bytes of a number.
    width: u64,
    /// The first number, and by how much each is greater than the one before.
    first: u64,
    step: u64,
}

impl Array {
    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.start + self.count * self.width
    }

    /// Fills `out` from `offset` of the file on, which lies in the array.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) {
        for (byte, place) in out.iter_mut().zip(offset.saturating_sub(self.start)..) {
            let number = self.first + place / self.width * self.step;
            *byte = number.to_le_bytes().get((place % self.width) as usize).copied().unwrap_or(0);
        }
    }
}

/// A directory: tags in ascending order, with their values.
pub(super) type Directory = Vec<(u16, Values)>;

/// A file of these directories: its bytes, but for the arrays, which follow them.
pub(super) fn build(directories: &[Directory], form: Form) -> (Vec<u8>, Vec<Array>) {
    let (word, (counted, entry)) = (form.word(), form.entries());
    let length = |directory: &Directory| counted + directory.len() * entry + word;
    let mut head: Vec<u8> = match form {
        Form::Classic => b"II\x2A\0".to_vec(),
        // The bytes of an offset, and a zero.
        Form::Big => b"II\x2B\0\x08\0\0\0".to_vec(),
    };
    form.put(form.header() as u64, &mut head);
    let values_start = (form.header() + directories.iter().map(length).sum::<usize>()).next_multiple_of(8);
    let (mut values, mut arrays) = (Vec::new(), Vec::new());
    // Those of the arrays stand in the entries, and are known when all other values are.
    let mut pending = Vec::new();
    for (number, directory) in directories.iter().enumerate() {
        head.extend_from_slice((directory.len() as u64).to_le_bytes().get(..counted).unwrap_or_default());
        for (tag, of_tag) in directory {
            let (kind, width, count) = of_tag.kind(form);
            head.extend_from_slice(&tag.to_le_bytes());
            head.extend_from_slice(&kind.to_le_bytes());
            form.put(count, &mut head);
            match of_tag.bytes(width, form) {
                Ok(mut bytes) if bytes.len() <= word => {
                    bytes.resize(word, 0);
                    head.extend_from_slice(&bytes);
                }
                Ok(bytes) => {
                    values.resize(values.len().next_multiple_of(8), 0);
                    form.put((values_start + values.len()) as u64, &mut head);
                    values.extend_from_slice(&bytes);
                }
                Err(array) => {
                    pending.push((head.len(), array));
                    form.put(0, &mut head);
                }
            }
        }
        let next = directories.get(number + 1).map_or(0, |_| head.len() + word);
        form.put(next as u64, &mut head);
    }
    head.resize(values_start, 0);
    head.extend_from_slice(&values);
    head.resize(head.len().next_multiple_of(8), 0);
    let mut start = head.len() as u64;
    for (place, array) in pending {
        let array = Array { start, ..array };
        start = array.end().next_multiple_of(8);
        if let Some(field) = head.get_mut(place..place + word) {
            field.copy_from_slice(array.start.to_le_bytes().get(..word).unwrap_or_default());
        }
        arrays.push(array);
    }
    (head, arrays)
}
