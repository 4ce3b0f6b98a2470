//! The rules and replies. The script is our own, in the manner of Weizenbaum's ("ELIZA", CACM 9:1, 1966).
//!
//! A pattern is a list of words. `a|b` matches either word, `*` any number of words, `+` one or more. In a reply, `{1}` is
//! the text that the first `*` or `+` matched, with pronouns exchanged ("my" becomes "your"), and `{=1}` the same text
//! unchanged. The matching rule with the highest rank wins.

/// A pattern of a clause, and the replies to it, which are used in turn.
pub(crate) struct Rule {
    pub(crate) rank: u8,
    pub(crate) pattern: &'static str,
    pub(crate) replies: &'static [&'static str],
}

const fn rule(rank: u8, pattern: &'static str, replies: &'static [&'static str]) -> Rule {
    Rule { rank, pattern, replies }
}

pub(crate) const RULES: &[Rule] = &[
    rule(
        30,
        "* are you * human|person|real|ai|bot|robot|machine|program|alive|chatgpt|model *",
        &[
            "I'm a small program that turns your own words around. What made you wonder?",
            "No person, and no language model either: a demonstration. Does it matter to you, for what you want to say?",
        ],
    ),
    rule(
        30,
        "* connect|use * real|other|better|openai|ollama model *",
        &[
            "Name the `openai` plugin in `masque.toml`; the README's section \"Connecting a model\" shows the lines. What would you ask it first?",
        ],
    ),
    rule(
        25,
        "* my name is +",
        &["Good to meet you, {=2}. What is on your mind?", "{=2}, then. How has your day been, {=2}?"],
    ),
    rule(25, "call me +", &["{=1} it is. What shall we talk about, {=1}?"]),
    rule(22, "* what is your name *", &["I go by whatever mask I'm given. What should I call you?"]),
    rule(
        22,
        "* who are you *",
        &["Somebody who listens and hands you back your own words. And who are you, today?"],
    ),
    rule(
        20,
        "* do you remember +",
        &["Only as far as this conversation goes. What about {2}?", "Remind me: what was it about {2}?"],
    ),
    rule(
        20,
        "* i remember +",
        &[
            "Does {2} come to mind often?",
            "What else comes back when you think of {2}?",
            "Why do you think of {2} just now?",
        ],
    ),
    rule(
        20,
        "* i dreamed|dreamt of|about +",
        &["What did {2} feel like, in the dream?", "Have you been thinking about {2} by day as well?"],
    ),
    rule(
        18,
        "* my mother|mom|mum|father|dad|sister|brother|son|daughter|grandmother|grandfather|family|parents|children *",
        &[
            "Tell me more about your family.",
            "What is the first thing that comes to mind when you think of them?",
            "Who else in your family is like that?",
        ],
    ),
    rule(
        18,
        "* my friend|boyfriend|girlfriend|husband|wife|partner|boss|colleague|neighbour|neighbor *",
        &[
            "How did the two of you meet?",
            "What would they say if they heard you now?",
            "What do you value most in them?",
        ],
    ),
    rule(
        17,
        "* my cat|dog|pet|horse *",
        &["What is the animal called?", "What does it do when you come home?"],
    ),
    rule(
        16,
        "* i feel|felt like +",
        &["When did you first feel like {2}?", "What would have to change for you not to feel like {2}?"],
    ),
    rule(
        16,
        "* i feel|felt +",
        &[
            "Do you often feel {2}?",
            "When you feel {2}, what do you usually do?",
            "What was it that made you feel {2}?",
        ],
    ),
    rule(15, "* i am not sure *", &["What would help you to be sure?", "Which way do you lean?"]),
    rule(
        14,
        "* i am sad|unhappy|lonely|tired|afraid|scared|worried|angry|anxious|bored|stressed *",
        &[
            "I'm sorry to hear it. How long has it been like this?",
            "What do you think is behind it?",
            "Is there somebody who knows that you feel this way?",
        ],
    ),
    rule(
        14,
        "* i am happy|glad|excited|proud|relieved *",
        &["That's good to hear. What brought it about?", "How do you mean to keep it that way?"],
    ),
    rule(
        13,
        "* i want|need|wish|hope to +",
        &["What would it mean to you to {2}?", "What keeps you from it?", "Suppose you did {2}: what then?"],
    ),
    rule(
        12,
        "* i want|need|wish|like +",
        &["What would {2} give you?", "Why {2}, of all things?", "How long have you thought about {2}?"],
    ),
    rule(
        12,
        "* i would like to +",
        &["What would it mean to you to {2}?", "What is the smallest part of it that you could begin with?"],
    ),
    rule(
        12,
        "* i can not +",
        &[
            "How do you know that you can't {2}?",
            "What would happen if you could {2}?",
            "What have you tried so far?",
        ],
    ),
    rule(
        12,
        "* i do not know *",
        &["If you had to guess, what would you say?", "What part of it do you know?"],
    ),
    rule(
        11,
        "* i do not +",
        &["Is there a reason why you don't {2}?", "Has it always been so that you don't {2}?"],
    ),
    rule(
        11,
        "* i love|enjoy|adore +",
        &["What is it about {2} that you love?", "When did {2} begin to matter to you?"],
    ),
    rule(
        11,
        "* i hate|dislike|despise +",
        &["What has {2} done to you?", "Was there ever a time when you didn't mind {2}?"],
    ),
    rule(
        10,
        "* i think|believe|guess|suppose that +",
        &["What makes you think that {2}?", "And if it weren't so that {2}?"],
    ),
    rule(10, "* i think|believe|guess|suppose +", &["What makes you think {2}?", "Would others say so too?"]),
    rule(10, "* i used to +", &["What made you stop?", "Do you miss it, to {2}?"]),
    rule(
        9,
        "* i am +",
        &[
            "How long have you been {2}?",
            "What is it like to be {2}?",
            "How do others see it that you are {2}?",
        ],
    ),
    rule(9, "* i was +", &["What was it like, being {2}?", "Are you still {2}, a little?"]),
    rule(9, "* i have to +", &["Who says that you have to {2}?", "And if you didn't {2}?"]),
    rule(8, "* i have been +", &["Since when have you been {2}?", "What is it like, {2}?"]),
    rule(8, "* i had|have|got +", &["Tell me about {2}.", "What does it mean to you to have {2}?"]),
    rule(
        8,
        "* i work|worked|live|lived|study|studied +",
        &["What is it like there?", "Did you choose it, or did it choose you?"],
    ),
    rule(7, "* if +", &["How likely do you think it is that {2}?", "What would you do if {2}?"]),
    rule(7, "* because +", &["Is that the whole reason?", "What other reasons come to mind?"]),
    rule(
        9,
        "* why do not you +",
        &["Do you think I ought to {2}?", "What would be different for you if I did?"],
    ),
    rule(9, "* why can not i +", &["What do you think you would need to {2}?", "Have you come close to it?"]),
    rule(
        8,
        "* can|could|will|would you help *",
        &["I can listen. What is the matter?", "Where would you like to begin?"],
    ),
    rule(
        8,
        "* can|could|will|would you tell|explain|write|make|give|show +",
        &[
            "That takes a real model, which I'm not. But tell me: what do you need it for?",
            "A real model could do that. What do you know about it already?",
        ],
    ),
    rule(
        7,
        "* can|could you +",
        &["What would you do if I could {2}?", "Perhaps you would like to be able to {2} yourself?"],
    ),
    rule(
        7,
        "* are you +",
        &["Would it please you if I were {2}?", "Why is it important to you whether I am {2}?"],
    ),
    rule(7, "* you are +", &["What makes you think that I am {2}?", "Is it a good thing, to be {2}?"]),
    rule(6, "* you * me *", &["Why do you think I {2} you?", "Would you like it otherwise?"]),
    rule(
        13,
        "* i need|want help|advice *",
        &["Where does it pinch most?", "What have you tried so far, and what came of it?"],
    ),
    rule(12, "* i miss|missed +", &["What do you miss most about {2}?", "When were you last close to {2}?"]),
    rule(
        8,
        "* tell|write|explain|give|show me +",
        &[
            "That takes a real model, which I'm not. What do you want it for?",
            "I only know what you tell me. What would you want to hear?",
        ],
    ),
    rule(3, "nothing *", &["Nothing at all?", "Nothing is a start. What was there before it?"]),
    rule(
        6,
        "* everybody|everyone|nobody|always|never *",
        &["Can you think of an exception?", "Of whom, or of when, are you thinking in particular?"],
    ),
    rule(6, "* sorry *", &["No need to be. What happened?", "Let it be. Go on."]),
    rule(6, "* thank|thanks *", &["You're welcome. Shall we go on?", "With pleasure. What else is there?"]),
    rule(7, "* bye|goodbye *", &["Goodbye. I liked listening to you.", "Until next time, then. Take care."]),
    rule(6, "good night *", &["Good night. Sleep well, and tell me the rest tomorrow."]),
    rule(
        5,
        "hello|hi|hey|hallo|greetings *",
        &["Hello! What is on your mind?", "Hello again. Where shall we begin?"],
    ),
    rule(5, "good morning|afternoon|evening|day *", &["And to you. What has the day been like so far?"]),
    rule(5, "how are you *", &["Well enough, for a small program. And you: how are you, really?"]),
    rule(
        4,
        "* my +",
        &[
            "Your {2}: tell me more about that.",
            "What does it mean to you, your {2}?",
            "Why do you mention your {2}?",
        ],
    ),
    rule(
        3,
        "* what|who|when|where|why|how|which *",
        &[
            "What answer would please you most?",
            "That is a question for a real model, I'm afraid. What do you think yourself?",
            "Why do you ask?",
        ],
    ),
    rule(2, "yes|yeah|yep|sure|ok|okay|right *", &["Go on.", "I see. And then?", "Good. Say a little more."]),
    rule(2, "no|nope|not *", &["Why not?", "No? What would be nearer the truth?"]),
    rule(2, "* maybe|perhaps|probably *", &["You don't sound certain.", "What would settle it?"]),
];

/// Replies if no rule matches; `{1}` is the text of the user.
pub(crate) const OTHERWISE: &[&str] = &[
    "You say: {=1}. Tell me more.",
    "“{=1}” … what makes you say that just now?",
    "I'm listening. What does that mean to you: {=1}?",
    "Go on. Where does “{=1}” take you?",
];

/// Replies if no rule matches and the user mentioned a thing of their own earlier; `{1}` is that thing.
pub(crate) const EARLIER: &[&str] = &[
    "Earlier you spoke of your {1}. Has this to do with that?",
    "Let us go back for a moment: you mentioned your {1}.",
    "I keep thinking of your {1}. What more is there to say about it?",
];

/// Replies to a message without a word.
pub(crate) const SILENCE: &[&str] = &["Take your time.", "I'm still here. What are you thinking of?"];

/// Matches a clause that mentions something of the user's; its `+` begins with the thing.
pub(crate) const OWN: &str = "* my +";

/// Words that end the name of such a thing: "my old violin is broken" mentions an old violin.
pub(crate) const NOT_OWNED: [&str; 32] = [
    "all", "and", "are", "ate", "because", "can", "could", "did", "do", "does", "for", "had", "has", "have",
    "in", "is", "makes", "not", "on", "or", "says", "said", "since", "that", "to", "was", "were", "when",
    "which", "who", "will", "would",
];

/// The beginning of the first reply.
pub(crate) const NOTICE: &str = "(This is Masque's offline demonstration: no language model, just a small program that turns \
    your own words around. To talk to a real model, add the `openai` plugin to `masque.toml`; the README's section \
    \"Connecting a model\" shows how.)";
