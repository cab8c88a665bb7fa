//! English words that the rules of punctuation would split wrongly: contractions, abbreviations, emoticons.
//!
//! The list is the one of spaCy's English tokenizer, made from what its entries have in common.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::english::{Affixes, first_pass};
use super::hashing::hash;

/// What a special string is split into.
#[derive(Debug)]
pub(super) struct Special {
    text: String,
    /// Ends of its words, in bytes.
    pub(super) ends: Vec<u32>,
    /// Ends of the words that it would be without this entry. Empty where no rule would touch it.
    pub(super) plain: Vec<u32>,
}

/// Every special string, found by its hash.
#[derive(Debug)]
pub(super) struct Specials {
    /// Pairs of a hash and a place in `entries`, open addressing.
    table: Vec<(u64, u16)>,
    entries: Vec<Special>,
    /// A bit for each hash that may be in the table: most words are in none, and that is told without a look at the table.
    filter: Vec<u64>,
    /// Bytes of the longest.
    pub(super) longest: usize,
}

const TABLE: usize = 2048;
const FILTER: usize = 8192;
const VACANT: u16 = u16::MAX;

/// The entries of English.
pub(super) static ENGLISH: LazyLock<Specials> = LazyLock::new(Specials::english);

impl Specials {
    /// The entry of a string, whose hash is `hashed`.
    pub(super) fn find_hashed(&self, text: &str, hashed: u64) -> Option<&Special> {
        let bit = (hashed >> 32) as usize % FILTER;
        if self.filter[bit / 64] >> (bit % 64) & 1 == 0 {
            return None;
        }
        let mut place = hashed as usize % TABLE;
        loop {
            let (known, entry) = self.table[place];
            if entry == VACANT {
                return None;
            }
            let special = &self.entries[entry as usize];
            if known == hashed && special.text == text {
                return Some(special);
            }
            place = (place + 1) % TABLE;
        }
    }

    /// The entry of a string.
    pub(super) fn find(&self, text: &str) -> Option<&Special> {
        if text.len() > self.longest { None } else { self.find_hashed(text, hash(text.as_bytes())) }
    }

    fn english() -> Self {
        let mut entries = Vec::new();
        for (text, ends) in listed() {
            let mut plain = Vec::new();
            let affixes = Affixes::of(&text);
            if affixes.any() {
                first_pass(&text, None, &mut Vec::new(), &mut plain);
            }
            entries.push(Special { text, ends, plain });
        }
        entries.sort_by(|a, b| a.text.cmp(&b.text));
        let mut table = vec![(0, VACANT); TABLE];
        let mut filter = vec![0; FILTER / 64];
        for (entry, special) in entries.iter().enumerate() {
            let hashed = hash(special.text.as_bytes());
            let mut place = hashed as usize % TABLE;
            while table[place].1 != VACANT {
                place = (place + 1) % TABLE;
            }
            table[place] = (hashed, entry as u16);
            let bit = (hashed >> 32) as usize % FILTER;
            filter[bit / 64] |= 1 << (bit % 64);
        }
        let longest = entries.iter().map(|special| special.text.len()).max().unwrap_or(0);
        Self { table, entries, filter, longest }
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Strings and the ends of their words.
fn listed() -> HashMap<String, Vec<u32>> {
    let mut list = HashMap::new();
    // A space stands where a word ends.
    let mut add = |spaced: &str| {
        let mut ends = Vec::new();
        let mut text = String::new();
        for word in spaced.split(' ') {
            text.push_str(word);
            ends.push(text.len() as u32);
        }
        list.insert(text, ends);
    };
    let mut both = |words: &str, endings: &str| {
        for word in words.split(' ') {
            for ending in endings.split(',') {
                add(&format!("{word} {ending}"));
                add(&format!("{} {ending}", capitalized(word)));
            }
        }
    };
    both("i", "'m,m,'m a,m a");
    both("i you he she it we they", "'ll,ll,'ll 've,ll ve,'d,d,'d 've,d ve");
    both("i you we they", "'ve,ve");
    both("you we they", "'re,re");
    both("he she it", "'s,s");
    both("who what when where why how there that this", "'s,s");
    both("who what when where why how there that this these those", "'ll,ll,'ll 've,ll ve,'d,d,'d 've,d ve");
    both("who what when where why how there these those", "'re,re,'ve,ve");
    both("ca could do does did had may might must need ought sha should wo would", "n't,nt,n't 've,nt ve");
    both("could might must should would", "'ve,ve");
    both("ai are is was were have has dare", "n't,nt");
    both("how", "'d 'y");
    both("not", "'ve,ve");
    both("can", "not");
    both("gon", "na");
    both("got", "ta");
    both("let", "'s");
    both("c'm", "on");
    add("y' all");
    add("y all");
    for hour in 1..=12 {
        for half in ["a.m.", "am", "p.m.", "pm"] {
            add(&format!("{hour} {half}"));
        }
    }
    for degree in "cfkCFK".chars() {
        add(&format!("° {degree} ."));
    }
    for letter in ('a'..='z').chain(['ä', 'ö', 'ü']) {
        add(&format!("{letter}."));
    }
    for word in WHOLE.split_whitespace().chain(EMOTICONS.split_whitespace()) {
        add(word);
    }
    for word in NOT_CONTRACTED.split(' ') {
        list.remove(word);
        list.remove(&capitalized(word));
    }
    let curly: Vec<_> = list
        .iter()
        .filter(|(text, _)| text.contains('\''))
        .map(|(text, ends)| {
            let longer = |end: &u32| end + 2 * text[..*end as usize].matches('\'').count() as u32;
            (text.replace('\'', "\u{2019}"), ends.iter().map(longer).collect())
        })
        .collect();
    list.extend(curly);
    list
}

/// What looks like a contraction without its apostrophe and is a word.
const NOT_CONTRACTED: &str = "ill its hell shell shed were well whore";

/// What stays whole, whatever its punctuation.
const WHOLE: &str = r#"
' \") '' \t \n <space> C++ — 'S 's ‘S ‘s 'd 're 'em em 'll ll 'nuff nuff and/or w/o
doin Doin goin Goin nothin Nothin nuthin Nuthin ol Ol somethin Somethin lovin Lovin havin Havin
doin' Doin' goin' Goin' nothin' Nothin' nuthin' Nuthin' ol' Ol' somethin' Somethin' lovin' Lovin' havin' Havin'
'cause 'Cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ma'am Ma'am o'clock O'clock
Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans.
Ky. La. Mar. Mass. Mich. Minn. Miss. Mt. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C.
Sep. Sept. Tenn. Va. Wash. Wis. a.m. p.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E.
Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s.
"#;

const EMOTICONS: &str = r"
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-((
:((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :*
:-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__-
v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<)
(*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>
";
