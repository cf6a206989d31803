# What jibek-audit says to people. The same keys with the same arguments stand in every language.

## Verdicts
verdict-valid = VALID
verdict-invalid = INVALID
verdict-cannot = CANNOT BE JUDGED
headline-valid = The file is genuine evidence. What exactly it proves, and what it does not, stands below.
headline-invalid = The file does not prove what it says. The reason stands below.
headline-unread = The file could not be read; nothing can be said of it.
headline-cannot = Nothing in the file contradicts itself, but what is needed to judge it is missing. What is missing stands below.
label-file = File
label-verdict = Verdict

## Headings
heading-what = Who asked what of whom
heading-when = When
heading-certificate = Under which certificate
heading-stamp = Who certified the time
heading-proved = What is proved
heading-unproved = What is not proved
heading-reason = Why
heading-next = What to do next
heading-findings = What a court should note
heading-basis = On what this rests

## Who asked what of whom
claims-only = The following is what the file says of itself. It is not proved.
nothing-readable = The file holds no message that could be read.
what-request = This is a request: one information system asks another for data or for an action.
what-response = This is an answer: one information system replies to the request of another.
what-asker = Asked by: { $party }.
what-asked = Asked of: { $party }.
what-answerer = Answered by: { $party }.
what-answered = Answered to: { $party }.
what-service = Service: { $service }.
what-service-version = Service: { $service }, version { $version }.
what-operation = Operation called: { $operation }.
what-status = Status code of the answer: { $status }.
what-message-id = Number that the asking system gave the exchange: { $id }.
what-issue = Case or document for which it asked, in its own words: { $issue }.
what-represented = It says that it asks on behalf of: { $party }.
what-user = Person named by the asking system: { $user }.
party-member = member “{ $name }” ({ $id })
party-member-unnamed = member { $id }, whose name is not in the configuration
party-system = { $member }, information system “{ $system }”

## When
when-signing = Time of signing, as the signer states it: { $time }. This is the signer's own statement; nothing here rests on it.
when-no-signing = The signer states no time of signing.
when-stamp = Time certified by the time-stamping authority: { $time }. The signature existed at that moment at the latest.
when-stamp-claimed = Time in the time-stamp: { $time }.
when-no-stamp = The file holds no time-stamp that could be read.
date = { $day } { $month ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
} { $year }, { $time } { $zone }
moment-with-offset = { $utc } ({ $local })

## Certificate
certificate-subject = The signature was made with the key of the certificate issued to: { $subject }.
certificate-subject-claimed = The certificate in the file was issued to: { $subject }.
certificate-validity = Its serial number is { $serial }; it is valid from { $from } to { $to }.
certificate-issuer = It was issued by the certification authority: { $issuer }.
certificate-issuer-named = It was issued by the certification authority: { $issuer }. The configuration approves this authority under the name “{ $name }”.
certificate-good = Status at the time of the stamp: good, which means not revoked. This is certified by the authority's own response, made on { $produced } and signed by: { $responder }.
certificate-good-age = When the time-stamp was made, this response was { $minutes ->
    [0] less than a minute
    [one] { $minutes } minute
   *[other] { $minutes } minutes
} old; the configuration allows { $allowed ->
    [one] { $allowed } minute
   *[other] { $allowed } minutes
}.
certificate-status-good = The status response in the file says: good, as of { $time }.
certificate-status-revoked = The status response in the file says: revoked on { $since }.
certificate-status-unknown = The status response in the file says: the certificate is unknown to the authority.
certificate-status-none = The file holds no status response that could be read.
no-certificate = The file holds no certificate that could be read.

## Time-stamp
stamp-by = The time was certified by: { $authority }.
stamp-by-named = The time was certified by: { $authority }. The configuration approves this authority under the name “{ $name }”.
stamp-by-claimed = The time-stamp names as its maker: { $authority }.
stamp-single = The time-stamp covers the value of this signature.
stamp-batch = The time-stamp covers this signature together with others made at about the same time; a chain of digests leads from this signature to what was stamped.

## What is proved
proved-bytes = The message in this file ({ $bytes } bytes) is exactly the one that was signed. Not one byte of it has been changed since.
proved-attachments = { $count ->
    [one] { $count } attachment was signed with the message and is unchanged: { $names }.
   *[other] { $count } attachments were signed with the message and are unchanged: { $names }.
}
proved-member = It was signed with a key that the certification authority certified as belonging to: { $party }.
proved-time = The signature existed at the latest on { $time }.
proved-certificate = The certificate was within its validity at that time and, by the authority's response, not revoked.

## What is not proved
unproved-user = That the person named by the asking system ({ $user }) acted or knew of it. The asking system wrote this name; the person signed nothing.
unproved-person = Which person acted. The signature is that of an organisation, not of a person.
unproved-true = That the content of the message is true. It is proved who stated it, not that it is so.
unproved-sending = When the message was sent, and how long before the time-stamp it was signed.
unproved-received-request = That the request was received, or what was answered. That takes the container of the answer.
unproved-received-response = That the answer was received. That takes the log of the member that asked.
unproved-attachments = { $count ->
    [one] What stood in { $count } attachment: it was signed, but what was signed is not in this file ({ $names }).
   *[other] What stood in { $count } attachments: they were signed, but what was signed is not in this file ({ $names }).
}
unproved-findings = Whatever the notes below take exception to.

## Why it is invalid
reason-technical = Technical reason: { $code }: { $text }
reason-technical-plain = Technical reason: { $text }
reason-ambiguous = The file is put together so that two programs could see two different messages in it. X-Road would take one of them without a word; here the file counts as invalid.
reason-chain = The message, or the time-stamp, does not fit the list of digests through which it was signed. Either the message or that list is not the one that was signed.
reason-changed = What was signed is not what stands in the file: the message, an attachment or the signature's own data have been changed since the signing, or the signature belongs to another message. A message log that keeps no message bodies leads to the same result.
reason-container = The file is no container of signed messages, or its packing says that it is something else.
reason-damaged = The file is damaged, or packed in a way that containers do not use. Its content cannot be read reliably.
reason-incomplete = A part without which the file proves nothing is missing: the message, the signature, the time-stamp or a list of digests.
reason-large = The file is larger, or unpacks to more, than any container may.
reason-message = The message in the file cannot be read as a message of X-Road, so it is unknown who ought to have signed it.
reason-other = The check of the file failed.
reason-path = The certificate of the signature does not lead to an approved certification authority, or was not valid at the time of the stamp.
reason-revoked = The certification authority does not say that the certificate was good at the time of the stamp: it was revoked, is unknown to the authority, or no response about it came along.
reason-signature = The signature or its time-stamp does not have the required form, or the two do not belong together.
reason-signer = The signature was made with the certificate of another member than the one that the message names as its sender.
reason-stamp = The time-stamp is not valid: it was not made with the key of an approved authority.
reason-status = The response about the certificate's status is not valid for the time of the stamp: too old, not signed properly, or not by an authorised responder.
reason-unsafe = The file holds an entry whose name could make a program read or write outside the directory it was told to. No security server writes such containers; the file was made to attack.
reason-meaning = Invalid means: this file proves nothing. It does not mean that somebody has forged it; damage or an incomplete export leads to the same result.

## Why it cannot be judged
cannot-authority = The certification authority that issued the certificate ({ $issuer }) is not in the configuration.
cannot-configuration = The history that was given holds no configuration for the time of the time-stamp.
cannot-file = The file could not be read.
cannot-instance = The configuration does not know the X-Road instance “{ $instance }” to which the sender belongs.
cannot-other = The configuration lacks something that is needed.
cannot-stamp = The authority that certified the time ({ $authority }) is not in the configuration.

## What to do next
next-valid-keep = Keep the file unchanged, together with the configuration by which it was judged. Any change of a single byte would make it invalid.
next-valid-pair = If it matters what was answered, have the container of the answer judged as well.
next-valid-request = If it matters what was asked, have the container of the request judged as well.
next-configuration = Obtain the configuration of the time of the time-stamp from a source that you trust (the operator of the instance, or the history of the registry), name it with --conf or --conf-history, and run the program again.
next-original = Obtain the container again from the other party: each side keeps its own copy, and one valid copy is enough.
next-log = Ask the operator of the security server whether message bodies are kept in its log; without them no container can prove the content.
next-expert = If the other party's copy is invalid as well, let an expert examine both; “jibek-audit extract” puts the parts of the file into a directory for this.
next-file = Check the name of the file and the right to read it, and run the program again.

## What a court should note
findings-none = Nothing else was found.
findings-more = { $count ->
    [one] One more note is left out here.
   *[other] { $count } more notes are left out here.
}
finding-attachment_absent = An attachment was signed but is not in the file. What stood in it cannot be seen from this file.
finding-attachment_differs = An attachment in the file is not the one that was signed. Its content proves nothing.
finding-attachment_uncovered = An attachment in the file was signed by nobody. Its content proves nothing.
finding-certificate_differs = The signed data name another certificate than the one that verifies the signature.
finding-certificate_unnamed = The signed data do not name the certificate of the signer.
finding-chain_unreferenced = The file holds a list of digests to which the signature does not refer. It proves nothing.
finding-duplicate_ids = Two elements of the signature bear the same name, so that a careless program might check one and show the other.
finding-entry_unknown = The file holds an entry that was signed by nobody and does not belong into a container.
finding-ocsp_from_future = The response about the certificate's status bears a later time than the time-stamp.
finding-properties_uncovered = The signature does not cover its own data, such as the stated time of signing. They prove nothing.
finding-signing_time_after_stamp = The signer states a later time of signing than the time-stamp certifies.
finding-weak_algorithm = A digest algorithm so old (SHA-1), or a key so short, was used that it can be forged with today's means.
finding-body_not_kept = The log does not keep this body: only its digest, which is the signed one. Whoever shows a body with this digest shows what was signed.
finding-body_removed = The body of the message is not in the file. Of a log that keeps no bodies, the content cannot be proved.
finding-content_unverified = The signature's document holds something that is neither signed nor part of the proof. It proves nothing.
finding-loose_encoding = The signature or the certificate is not written as it should be, though it can be read. X-Road reads it, too.
finding-manifest_differs = A list of contents in the file does not agree with what is in it. The verdict does not rest on that list.
finding-signing_time_far_from_stamp = The signer states a time of signing long before the certified one.
finding-zip_directory_differs = The file's own directory does not agree with its entries, so that two programs could see two different contents.
finding-zip_link = An entry of the file is a link to another file. No security server writes such entries.
finding-zip_unsafe_name = The name of an entry leads out of the directory into which the file would be unpacked. No security server writes such names; unpack the file with care.
finding-detail = { $sentence } ({ $detail })

## On what this rests
basis-file = The file has { $bytes } bytes; its SHA-512 is { $digest }.
basis-message = The message has the SHA-512 { $digest }.
basis-configuration = Judged by the configuration of the instance { $instance }, whose digest is { $digest }.
basis-since = This configuration had been in force since { $time }.
basis-rules = The verdict is that of X-Road's own rules; the time for which certificates were judged is that of the time-stamp.
basis-program = Made by jibek-audit { $version }.

## Extracted parts
extract-to = Extracted to { $directory }:
extract-list = { $name }, { $bytes } bytes: { $standing }
extract-from = { $name }, { $bytes } bytes (in the file: { $entry }): { $standing }
part-proved = signed and verified
part-unproved = not proved
part-unsigned = signed by nobody
part-absent = signed, but not in the file
part-differs = not what was signed
part-proof = part of the proof
part-configuration = from the configuration
part-sums = digests of the files above

## Page
page-title = Evidence report
page-contents = Contents
page-made = Made
page-program = Program
page-configuration = Configuration used
page-instance = Instance
page-version = Version
page-since = In force since
page-part-digest = SHA-512 of the shared parameters
page-parts = Its parts
page-content-digest = Digest of the whole
page-message = Message
page-kind = Kind
page-direction = Direction
page-direction-request = request
page-direction-response = answer
page-client = Client
page-service = Service
page-message-id = Message id
page-request-id = Exchange id
page-certificates = Certificates
page-role-signer = Signer
page-role-authority = Certification authority
page-role-intermediate = Intermediate authority
page-role-responder = Status responder (OCSP)
page-role-stamper = Time-stamping authority
page-subject = Subject
page-issuer = Issuer
page-serial = Serial number
page-validity = Valid
page-validity-range = { $from } to { $to }
page-fingerprint = SHA-256 of the certificate
page-stamp = Time-stamp
page-stamp-time = Certified time
page-stamp-imprint = Digest stamped
page-stamp-covers = Covers
page-covers-value = the value of the signature
page-digests = Digests
page-part = Part
page-algorithm = Algorithm
page-value = Value
page-state = State
page-finding = Note
page-finding-detail = Detail, as the program gives it
page-findings = Notes
page-hand = How to repeat this by hand
page-hand-first = Every step below uses public programs only (OpenSSL, xmlsec1, unzip). The command “jibek-audit extract” merely takes the parts out of the file and, of the authorities' certificates, out of the configuration; whoever does not trust it can take them out with unzip and a text editor. Put the file into an empty directory, and in it type:
page-hand-unverified = The file is not valid, so at least one of these steps is expected to fail.
page-hand-none = The file holds too little to repeat anything by hand but this:
page-expected = must print
page-of-file = SHA-512 of the file
page-size = Size
page-bytes = { $bytes } bytes
hand-file = The file is the one that this report is about.
hand-extract = Take the parts out.
hand-same = The message taken out is the one in the file.
hand-digest = The digest of { $part } is the one that was signed: it stands in the signature's list of references ({ $list }).
hand-chain-digest = The digest of { $part } stands in the list of digests { $list }.
hand-chain-note = Not repeated here: the computation that leads from { $list } to { $result }. Each step of it is the SHA-512 of a DER sequence of the digests of the step; “jibek-audit verify” computes it, and so does X-Road's own verifier.
hand-value = The value of the signature was made with the key of the signer's certificate over the list of references.
hand-xmlsec = The same, and the digests of all references, in one step by a program that does not need signed-info.xml.
hand-path = The signer's certificate was issued by the authority in the configuration, and was within its validity at the time of the stamp.
hand-ocsp = The status response is signed by the responder in the configuration, is about the signer's certificate, and says good. Its time is to be compared with that of the stamp.
hand-stamp = The time-stamp is that of the authority in the configuration, and covers what it must.
hand-stamp-time = The time in the time-stamp.
