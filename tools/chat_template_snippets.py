"""Small templates that look into the corners of jinja2: one list of expressions, one of whole templates."""

VARIABLES = {
    "s": "Hello, World", "u": "Zürich ΟΔΟΣ 👩‍👩‍👧 e\u0301", "empty": "", "ws": " \t a  b \n", "html": "<b>'x' & \"y\"</b>",
    "q": "it's", "qq": "both ' and \"", "lines": "one\ntwo\r\n\n  four\u2028five", "n": 7, "neg": -7, "f": 2.5,
    "big": 18446744073709551615, "t": True, "none": None, "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "el": [],
    "d": {"b": 1, "a": [1, {"x": None}], "items": "shadow", "C": 2.0}, "ed": {},
    "users": [{"name": "Bo", "age": 3, "tags": ["x"]}, {"name": "al", "age": 5}, {"name": "Cy", "age": 3, "on": True}],
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4
7 // 2, -7 // 2, 7 // -2, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2, 7 % 2.5
7 / 2, 6 / 2, 2 ** 10, 2 ** -1, 2.0 ** 3, (-2) ** 2, -2 ** 2, 2 ** 3 ** 2
1 / 0
1 % 0
1.5 // 0
'a' + 1
1 + none
[1] + (2,)
[1] + [2] + [], (1,) + (2, 3)
'ab' * 3, 3 * 'ab', 'ab' * -1, [1, 2] * 2, (0,) * 3, 'x' * true
1 ~ 'a' ~ none ~ true ~ 1.0 ~ [1, 'b'] ~ {'k': 'v'} ~ missing
n ~ -n
-n, +n, - -n, -f, -t, +t
-'a'
not n, not none, not empty, not el, not ed, not 0.0, not missing
1 < 2, 1 < 2 < 3, 1 < 3 < 2, 3 > 2 > 1, 1 == 1.0, 1 == true, 'a' == 'a', 'a' != 'b', 1 <= 1 >= 1
'a' < 'b', 'Z' < 'a', [1, 2] < [1, 3], [1] < [1, 0], (1, 2) > (1,), 'é' > 'z'
1 < 'a'
none < 1
missing < 1
missing == missing, missing == none, missing != 1, missing == ''
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}, [1, 2.0] == [1.0, 2], (1,) == [1], {'a': 1} == {'a': true}
1 in l, 9 in l, 'ell' in s, 'b' in d, 1 in d, 'x' not in s, '' in s, none in [none], 1.0 in l, missing in l
1 in 'a'
1 in 5
1 in none
[] in d
'a' in missing
true and 'x' or 'y', 0 or '', 0 and missing, 1 and 2, none or missing is defined
not 1 == 2, not (1 == 2), not 1 in l
'a' if n > 3 else 'b', 'a' if n < 3, ('a' if n < 3) is defined, 1 if 0 else 2 if 0 else 3
none, true, false, None, True, False
1.0, 1e3, 1E-7, 1.5e300, 123456789012345678, 0.1 + 0.2, 1e16, 1e15, 123456789.123456789, 1_000, 0x1F, 0b101, 0o17, 1_0.5
1e308 * 10, -1e308 * 10, 5e-324, 2.5e-5, 0.0001, 0.00001, 100000000000000000000.0, -0.0
big, big + 1, big * 2, 9223372036854775807 + 1
s[0], s[-1], s[99], s[1:3], s[:-1], s[::2], s[::-1], s[-3:], s[5:2], s[2:100], s[-100:2], s[3:0:-1], s[::-2]
u[0], u[1], u[7:11], u[::-1], u[12:], u[-2:], u[-1:], u|length
l[0], l[-1], l[5], l[1:], l[::-1], l[:0], l['x'], l[true], l[0:3:2], el[0], (1, 2, 3)[1:], l[1:][0]
l[::0]
l['a':]
n[1:]
d[1:]
missing[1:]
none[0], n[0], n.foo, none.foo, f['x']
missing.foo
missing['foo']
missing[0]
missing()
n()
s()
d.b, d['b'], d.a[1].x, d.zzz, d['zzz'], d.items() | list, d['items'], d.keys() | list, d.values() | list
d.get('b'), d.get('zz'), d.get('zz', 3), d.get('a')[0]
d.get()
d.get([])
d.copy(), l.copy(), l.index(1), l.count(3), (1, 2, 1).count(1), (1, 2).index(2)
l.index(99)
d, [d], l, el, ed, (1,), (), (1, 'a'), [[]], [none, true, 1.0, 'q']
d.keys(), d.values(), d.items(), ed.items()
d.items is defined, d['keys'] is defined, s.upper is defined, l.append is defined, s.nope is defined, d.update is defined
l.append(1)
l.pop()
d.update({})
d.pop('a')
d.clear
l.append ~ 'x'
d.__class__, s.__len__ is defined, s.__class__.__mro__ is defined
{'a': 1, 'a': 2}, {1: 'x', 1.0: 'y', true: 'z'}, {none: 1, (1, 2): 3}, {'x': {}}
{[]: 1}
{1: 2}[1], {1: 2}[1.0], {true: 2}[1], {(1, 2): 3}[(1, 2)], {(1, 2): 3}[1, 2]
[q, qq, html, ws, u, '\\', '\x00\x1f\x7f\xa0', '\u200d\u2028\ufeff', '\U0001f600\u0378']
'\n\t\r\\\'\"', "a\'b", 'a\"b', '\x41\u00e9\101\0', 'a\qb\é', 'a' 'b' "c"
'a\
b'
'\x4'
'\u12'
s.upper(), s.lower(), s.title(), s.capitalize(), s.swapcase(), u.upper(), u.lower(), u.title(), u.capitalize(), u.swapcase()
'ß'.upper(), 'ß'.title(), 'ŉ'.upper(), 'İ'.lower(), 'ΑΣ ΑΣΑ Σ ΑΣ.Α'.lower(), 'ǆ'.title(), 'ǅ'.swapcase(), 'ﬁx'.capitalize(), 'ﬁX'.title()
"they're bill's".title(), "they're bill's-x (a)[b]{c}<d>".title(), "they're bill's-x (aB)[b]{c}<d> É".lower() | title
ws.strip(), ws.lstrip(), ws.rstrip(), 'xxaxx'.strip('x'), 'abcab'.strip('ba'), 'abc'.lstrip('ab'), 'abc'.rstrip('bc'), '\u00a0\u2003x\u3000'.strip(), 'x'.strip(none), 'a.b'.strip('.')
s.strip(1)
'a b  c'.split(), ' a b  c '.split(' '), 'a,b,c'.split(',', 1), 'a,b,c'.rsplit(',', 1), ' a b c '.split(none, 1), ' a b c '.rsplit(none, 1), ''.split(), ''.split(','), 'abc'.split('x'), 'a--b--c'.split('--', -1), 'a,b'.split(',', 0), ' a  b'.split(maxsplit=1), 'aXbXc'.split(sep='X')
s.split('')
s.split(1)
'aaaa'.rsplit('aa', 1), 'aaa'.split('aa'), 'aaa'.rsplit('aa')
lines.splitlines(), lines.splitlines(true), ''.splitlines(), '\n'.splitlines(), 'a\x0bb\x0cc\x1cd\x85e'.splitlines()
s.startswith('He'), s.startswith(('x', 'H')), s.startswith('lo', 3), s.endswith('ld'), s.endswith('lo', 0, 5), s.startswith(''), s.startswith('', 99), s.endswith(())
s.startswith(1)
s.startswith(['H'])
s.find('o'), s.find('o', 5), s.find('o', 0, 3), s.find('zz'), s.rfind('o'), s.rfind('o', 0, 6), u.find('Δ'), s.find(''), s.find('', 99), s.find('o', -4), s.index('W'), s.rindex('l'), s.count('l'), s.count(''), 'aaa'.count('aa'), s.count('l', 4)
s.index('zz')
s.replace('l', 'L'), s.replace('l', 'L', 1), s.replace('', '-'), s.replace('', '-', 3), u.replace('Ü'.lower(), 'ue'), s.replace('l', ''), ''.replace('', 'x'), 'aaa'.replace('aa', 'b'), s.replace('l', 'L', -1), s.replace('l', 'L', 0)
s.replace('l')
s.replace('l', 1)
', '.join(ls), ''.join('abc'), '-'.join(d), '-'.join(('x',)), 'x'.join([])
','.join([1])
'ab'.center(7, '*'), 'ab'.center(6), 'abc'.center(6, '.'), 'ab'.ljust(4, '.'), 'ab'.rjust(4), '-5'.zfill(4), '5'.zfill(3), '+'.zfill(3), 'ü'.center(4, '→')
'ab'.center(4, 'xy')
'a'.isalpha(), ''.isalpha(), 'a1'.isalnum(), '1'.isdigit(), '²'.isdigit(), '²'.isdecimal(), '½'.isnumeric(), ' \n'.isspace(), 'A'.isupper(), 'Aa'.isupper(), 'a1'.islower(), 'Ab Cd'.istitle(), 'ab'.istitle(), 'é'.isascii(), 'a\n'.isprintable(), ''.isprintable(), '中'.isalpha(), 'ǅ'.istitle()
'a-b-c'.partition('-'), 'a-b-c'.rpartition('-'), 'abc'.partition('-'), 'abc'.rpartition('-'), 'TestHook'.removeprefix('Test'), 'MiscTests'.removesuffix('Tests'), 'x'.removeprefix('y'), 'a\tb\tc'.expandtabs(4), 'a\tb'.expandtabs()
'{} {}'.format(1, 'a'), '{0} {1} {0}'.format('x', 2), '{a} {b}'.format(a=1, b=none), '{{}}'.format(), '{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c'), '{!r} {!s}'.format('a', 'b')
'{:05d} {:+d} {:x} {:X} {:#x} {:o} {:b} {:,} {:_} {:c}'.format(42, 42, 255, 255, 255, 8, 5, 1234567, 1234567, 65)
'{:.2f} {:8.3f} {:e} {:g} {:%} {:.0f} {:,.2f} {:+.1f} {:08.2f}'.format(3.14159, 2.5, 12345.678, 0.0001, 0.25, 2.5, 1234567.891, 1.25, -3.5)
'{} {:.3} {:10} {:<10}|'.format(1.0, 3.14159, 1.5, 1.5)
'{:*^9}{:→>4}{:=+6}{:<06}'.format('mid', 'r', 5, 7)
'{:{}}|{:{w}.{p}f}'.format('a', 4, 3.14159, w=8, p=2)
'{0.name} {0[age]} {u[name]} {l[1]}'.format(users[0], u=users[1], l=l)
'{:d}'.format('a')
'{:s}'.format(1)
'{'.format()
'}'.format()
'{} {0}'.format(1)
'{5}'.format(1)
'{x}'.format(y=1)
'{:>5}'.format(none)
'{} {} {}'.format(none, true, l), '{:>5} {:d}'.format(true, true), '{:5}|{:.1}'.format('abc', 'xyz')
'%s %s' % ('a', 1), '%d %i %5d|%-5d|%05d %+d % d' % (1, 2.9, 3, 4, 5, 6, 7), '%s' % none, '%s' % 'x', '%s' % [1, 2], '%r' % 'a', '%%', '%%' % ()
'%x %X %o %#x %#o %c %c' % (255, 255, 8, 255, 8, 65, 'z'), '%f %.2f %e %g %G %10.3f|%-10.1f|' % (1.5, 2.345, 12345.678, 1e-5, 1e20, 3.14159, 2.25), '%.2s|%5s|%-5s|' % ('abc', 'd', 'e'), '%*d' % (5, 3), '%.3d' % 5
'%(a)s %(b)d' % {'a': 1, 'b': 2}, '%(a)s' % {'a': 1, 'c': 2}
'%s' % (1, 2)
'%s %s' % 'a'
'%d' % 'a'
'%(x)s' % {}
'abc' % 'x'
'abc' % (), 'abc' % [], 'abc' % {}
s | upper | lower, s | length, l | length, d | count, u | length, missing | length, (1, 2) | length, d.items() | length
n | length
none | length
l | map('string') | length
s | trim, ws | trim, 'xax' | trim('x'), 5 | trim, none | trim, missing | trim
s | title, 'hello-world foo_bar (x) [y] {z} <w> it\'s a.b' | title, none | capitalize, 'ABC dEF' | capitalize, 3 | upper, true | lower
s | replace('l', 'L'), s | replace('l', 'L', 1), 12321 | replace(1, 9), s | replace('', '.')
missing | default('x'), none | default('x'), none | default('x', true), '' | default('x', true), 0 | d('z', boolean=true), missing | d
missing.__x is defined
missing.a | default('x')
d.zz | default('x'), d.b | default('x'), (d.zz | default({})).y is defined
l | first, l | last, el | first, el | last, s | first, s | last, d | first, d | last, missing | first, missing | last, (l | map('string')) | first, l | min, l | max, el | min
l | map('string') | last
n | first
l | join, l | join(', '), ls | join('-'), users | join(', ', attribute='name'), s | join('.'), d | join, missing | join('x'), [none, 1, true, missing] | join('|')
users | join(attribute='tags.0')
n | join
l | list, s | list, d | list, missing | list, (1, 2) | list, range(3) | list, d.items() | list
l | string, d | string, none | string, 1.0 | string
'42' | int, '42.7' | int, 'x' | int, 'x' | int(7), 42.9 | int, -42.9 | int, none | int, true | int, '0x1f' | int(base=16), '1f' | int(0, 16), ' 12 ' | int, '1_000' | int, '-5' | int, '1e3' | int, [] | int, '0b11' | int(base=2), '077' | int(base=0), '0x1f' | int(base=0)
missing | int
'1.5' | float, 'x' | float, 'x' | float(2), 3 | float, none | float, 'inf' | float, '-1e5' | float, ' 2. ' | float, '.5' | float, 'nan' | float, true | float
'inf' | float | int
5 | abs, -5 | abs, -2.5 | abs, 'a' | length | abs
'a' | abs
2.5 | round, 3.5 | round, 2.675 | round(2), 2.6 | round, 42.55 | round(1, 'floor'), 42.55 | round(1, 'ceil'), 42 | round, 42.0 | round(0, 'floor'), -2.5 | round, 1234 | round(-2), 1250 | round(-2), 5.015 | round(2), true | round
'a' | round
1.5 | round(1, 'x')
l | sort, l | sort(reverse=true), ls | sort, ls | sort(case_sensitive=true), users | sort(attribute='name') | map(attribute='name') | list, users | sort(attribute='age,name') | map(attribute='name') | join, users | sort(attribute='age', reverse=true) | map(attribute='name') | join, 'hello' | sort
[1, 'a'] | sort
ls | unique | list, ls | unique(case_sensitive=true) | list, [1, 1.0, true, 2] | unique | list, users | unique(attribute='age') | map(attribute='name') | list, [3, 1, 3] | unique | join
[[1]] | unique | list
d | dictsort, d | dictsort(true), d | dictsort(reverse=true), {'x': 2, 'y': 1} | dictsort(by='value'), {'b': 1, 'A': 2} | dictsort(false, 'value')
d | dictsort(by='value')
d | items | list, ed | items | list, missing | items | list
n | items | list
l | reverse | list, s | reverse, u | reverse, d | reverse | list, range(3) | reverse | list, missing | reverse | list
n | reverse
l | sum, [1.5, 2] | sum, users | sum(attribute='age'), l | sum(start=10), [[1], [2]] | sum(start=[]), el | sum
ls | sum
ls | min, ls | max, ls | max(case_sensitive=true), users | min(attribute='age'), [2, 1.0] | min, 'hello' | max
l | batch(2) | list, l | batch(2, 0) | list, range(5) | batch(2, 'x') | list, l | slice(2) | list, range(7) | slice(3, 'x') | list, el | batch(3) | list
users | groupby('age') | list
(users | groupby('age'))[0].grouper, (users | groupby('age'))[0].list | length, (users | groupby('age'))[1][0], users | groupby('on', default=false) | map('first') | list
users[:1] | map(attribute='tags.0') | list, users | map(attribute='name') | list, users | map(attribute='tags', default='-') | list, ls | map('upper') | list, ls | map('replace', 'a', 'z') | join, [[1, 2], [3]] | map('sum') | list, [[1, 2]] | map(attribute=1) | list, missing | map('upper') | list, none | map('x') | list
ls | map('nofilter') | list
ls | map | list
ls | map('nofilter') is defined
l | select | list, [0, 1, '', 'a', none] | select | list, [0, 1, '', none] | reject | list, l | select('>', 1) | list, l | select('odd') | list, l | reject('even') | list, l | select('in', [1, 2]) | list, ls | select('lower') | list, ls | reject('equalto', 'A') | list, l | select('divisibleby', 3) | list
users | selectattr('on') | list | length, users | selectattr('age', '==', 3) | map(attribute='name') | list, users | selectattr('age', 'gt', 3) | list | length, users | rejectattr('tags', 'defined') | list | length, users | selectattr('tags', 'undefined') | map(attribute='name') | join(','), users | rejectattr('on') | map(attribute='name') | join, none | selectattr('x') | list, users | selectattr('name', 'in', ['Bo', 'Cy']) | list | length
users | selectattr | list
5 | select | list
users | selectattr('a.b', 'defined') | list
l | select('notest') | list
html | e, html | escape | escape, html | safe, html | forceescape, (html | safe) ~ '<', (html | safe) + '<', '<' + (html | safe), (html | e) * 2, (html | safe).upper(), [html | safe], (html | safe)[0:3] + '<', none | e, 5 | e, (html | safe) | length, ('<' | safe) | replace('<', '>'), ('<%s>' | safe) % '<', ('<{}>' | safe).format('<'), ('<' | safe).join(['>', '<']), html | safe is escaped, html is escaped
'a\nb\n\nc' | indent, 'a\nb\n\nc' | indent(2), 'a\nb\n\nc' | indent(2, true), 'a\nb\n\nc' | indent(2, true, true), 'a\nb' | indent('> '), 'a\nb\n' | indent(width=1, blank=true), '' | indent(2, true), 'a\r\nb' | indent, lines | indent(1), 'a\n\n' | indent(1), 'a' | indent(0)
n | indent
none | indent
missing | indent
'%s-%s' | format(1, 'b'), '%(a)s' | format(a=1), '%d%%' | format(5), 'x' | format
'%s' | format(1, a=2)
s | wordcount, 'a-b c_d é1, \n' | wordcount, '' | wordcount, 'ab' | center(6), s | truncate(5, true, ''), s | truncate(9, false, '…', 0), s | truncate(8), 'foo bar baz qux' | truncate(9), 'foo bar baz qux' | truncate(9, true), 'foo bar baz qux' | truncate(11)
s | attr('upper') is callable, d | attr('b') is defined, d | attr('items') is defined, missing2 is defined
l | tojson, d | tojson, u | tojson, html | tojson, none | tojson, 1.0 | tojson, 1e20 | tojson, true | tojson, '\x00\x1f\x7f\u2028"\\/\b\f\n\r\t' | tojson, (1, 2) | tojson, big | tojson, 1e-7 | tojson
d | tojson(indent=2), el | tojson(indent=2), ed | tojson(indent=4), [[], {}, [1]] | tojson(indent=1), {'a': {'b': [1, 2]}} | tojson(indent='--'), [1, 2] | tojson(indent=0), [1] | tojson(indent=none), [1, [2]] | tojson(indent=-1)
u | tojson(ensure_ascii=true), '\x7f' | tojson(ensure_ascii=true), d | tojson(sort_keys=true), {'b': 1, 'a': 2} | tojson(separators=(',', ':')), {'b': [1, 2]} | tojson(indent=2, separators=(',', ' = ')), d | tojson(false), u | tojson(true), [1] | tojson(false, 2)
{1: 'a', none: 'b', true: 'c', 2.5: 'd'} | tojson, {'b': {'z': 1, 'y': 2}, 'a': 0} | tojson(sort_keys=true, indent=1), 'inf' | float | tojson, 'nan' | float | tojson, ('-inf' | float) | tojson
{(1, 2): 3} | tojson
missing | tojson
[missing] | tojson
range(3) | tojson
d.keys() | tojson
{1: 2, 'a': 3} | tojson(sort_keys=true)
(html | safe) | tojson, '<>&\'' | tojson
range(5) | list, range(2, 5) | list, range(5, 2) | list, range(5, 0, -2) | list, range(3), range(1, 7, 2), range(5)[2], range(5) | last, range(5) | length, 3 in range(5), range(3) == range(0, 3)
range(9)[2:7:2], range(9)[::-1], range(9)[5:2], range(9)[::-2] | list, range(0, 9, 3)[1:] | list, range(3)[::-1][0]
range(1, 2, 0)
range(1.5)
range()
range('a')
dict(a=1, b=2), dict([('x', 1)]), dict({'a': 1}, b=2), dict(), dict(d, **{'zz': 1}) | length
dict(1)
namespace(a=1).a, namespace({'a': 2}).a, namespace(a=1).b is defined, namespace(x=1), namespace()['x'] is defined, namespace(a=5)['a']
raise_exception('no')
raise_exception()
strftime_now('%Y-%m-%d %H:%M:%S %a %A %b %B %j %p %y %I %%'), strftime_now('')
s is string, n is number, f is float, n is integer, t is integer, t is boolean, t is number, none is none, missing is undefined, missing is defined, l is iterable, s is iterable, n is iterable, d is mapping, l is mapping, l is sequence, s is sequence, d is sequence, n is sequence, missing is iterable, missing is sequence, missing is callable, s.upper is callable, range is callable, d.items() is iterable, d.items() is sequence, (1, 2) is sequence, range(3) is sequence, range(3) is iterable, namespace() is iterable, none is mapping, (l | map('string')) is iterable, (l | map('string')) is sequence
t is true, n is true, 1 is true, false is false, 0 is false, none is not none, n is not string, 3 is odd, 4 is even, 9 is divisibleby 3, 9 is divisibleby(4), 'abc' is lower, 'ABC' is upper, 'aB' is lower, '' is lower, 5 is upper
1 is eq 1, 1 is equalto(1.0), 1 is ne 2, 2 is gt 1, 2 is ge 2, 1 is lt 2, 1 is le 0, 1 is greaterthan 0, 1 is lessthan 0, 1 is in l, 9 is in(l), 'a' is in 'abc', none is sameas none, true is sameas true, 1 is sameas true, l is sameas l, 'upper' is filter, 'nope' is filter, 'odd' is test, 'nope' is test, s is not in ls
'a' is odd
missing is odd
1 is gt 'a'
n is not defined or n is defined and n, n is string or n is number, n is defined and not n is string
n is foo
n is defined is defined
missing is lower, missing is none, missing is string, missing is number, missing is mapping, missing is true, missing in ls, missing | string, missing ~ 'x', missing | upper
missing + 'x'
-missing
missing | sort, missing | unique | list, missing | batch(2) | list, missing | sum
missing | dictsort
missing | indent
missing | round
missing | float
missing | abs
l | sort | first, ls | map('upper') | sort | join(','), (ls | join).upper(), s.lower().split(', ')[1], s.split(', ')[0] | lower, -1 | abs, - n | abs, 2 * n | string, n | string * 2
1 if missing else 2, [1 if t, 2], (1 if f)
l is defined and l[0] == 3, users[0].tags is defined and users[1].tags is not defined, users[0]['tags'][0], users.0.name, users[-1].on
users[5].x is defined
users[5].x.y is defined
(1, 2, 3)
(1)
1,
[1, 2,], (1,), {'a': 1,}, [ ]
l.__getitem__
{}.x, {} , {'a': {}}['a'], {'a b': 1}['a b']
"a" "b" ~ 'c'
'{{ not }}', "{% raw %}", '}}', "%}"
d.items().x is defined, d.a.1.x, l.0, l.5 is defined, s.0, d.a.0
cycler is defined, joiner is defined, namespace is defined, loop is defined
n == 7 == true, 1 == 1 == 1, 'a' in 'abc' in ['abc'], 1 < 2 == 2
not not n, not (n and none), n and (none or 3)
"\u00e9" == "é", 'é' | length, "e\u0301" | length, '👩‍👩‍👧' | length, '👩‍👩‍👧'[0], '\U0001F600'
[1, 2, 3][1:][::-1], 'abc'[1:][::-1], 'abcdef'[4:1:-1], 'abcdef'[-1:-4:-1], 'abc'[10:], 'abc'[:10:3], 'abc'[-1], 'abc'[2:1]
1.0 == 1, 0.1 + 0.2 == 0.3, 1e400, 10 ** 18, 10 ** 20, -10 ** 20, 3.0 * 2, 7.0 / 2, 1 - 0.9, 100 * 1.1, 1e22, 1.0e-10, 3.14159265358979
"""

TEMPLATES = r"""
a {{ 1 }} b
{% if t %}x{% endif %}
  {% if t %}¶  x¶  {% endif %}¶y
  {%+ if t %}¶  x¶  {%+ endif %}¶y
a  {%- if t -%}  x  {%- endif -%}  b
a¶¶  {{- 1 -}}  ¶¶b
a¶  {{ 1 }}¶b
{{ 1 }}¶{{ 2 }}¶
¶¶{{ 1 }}¶¶
{# c #}¶x{# c #}y¶  {# c #}¶z
  {#- c -#}  ¶x
a {#- c #} b {# c -#} c
{#+ c +#}¶x
  {{ 1 }}  {% set x = 2 %}  ¶{{ x }}
{% set x = 2 +%}¶{{ x }}
{% raw %}{{ x }}{% if %}{% endraw %}¶y
  {% raw %}¶ {{ x }} ¶  {% endraw %}¶y
  {%- raw -%}  {{ x }}  {%- endraw -%}  y
{% raw -%}¶¶ a {%- endraw %}b
{% if t %}a{% elif n %}b{% else %}c{% endif %}{% if none %}a{% elif n %}b{% else %}c{% endif %}{% if none %}a{% elif el %}b{% else %}c{% endif %}
{% if n > 3 and s or q %}1{% endif %}{% if not t %}2{% endif %}
{% for x in l %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}|{% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}<{{ loop.nextitem }} {{ loop.previtem is defined }}{{ loop.nextitem is defined }};{% endfor %}
{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }}{% endfor %}
{% for x in l %}{{ loop }}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for k, v in d | dictsort %}{{ k }}{% endfor %}
{% for a, (b, c) in [(1, (2, 3)), (4, (5, 6))] %}{{ a }}{{ b }}{{ c }};{% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for a, b in [1] %}{{ a }}{% endfor %}
{% for (a, b) in [(1, 2)] %}{{ a }}{{ b }}{% endfor %}
{% for c in 'aé👩' %}[{{ c }}]{% endfor %}{% for c in '' %}x{% else %}none{% endfor %}
{% for x in el %}x{% else %}empty{% endfor %}{% for x in missing %}x{% else %}none{% endfor %}{% for x in [1] %}{{ x }}{% else %}e{% endfor %}
{% for x in n %}{% endfor %}
{% for x in none %}{% endfor %}
{% for x in l if x > 1 %}{{ x }}{{ loop.index }}{{ loop.length }}{% else %}e{% endfor %}{% for x in l if x > 9 %}{{ x }}{% else %}e{% endfor %}
{% set ns = namespace(c=0) %}{% for x in [1, 2, 3, 4] if ns.c < 2 %}{% set ns.c = ns.c + 1 %}{{ x }}{% endfor %}
{% for x in [1, 2, 3, 4] %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}
{% for x in [1, 2] %}{% for y in [1, 2] %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}
{% for x in [1] %}{% break %}{% else %}e{% endfor %}z
{% break %}
{% for x in range(3) %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }};{% endfor %}{{ x }}
{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}{% with %}{% set x = 3 %}{{ x }}{% endwith %}{{ x }}
{% for x in [1, 2] %}{% set x = 9 %}{{ x }}{{ loop.index }}{% endfor %}
{% for i in [1, 2] %}{% if i == 2 %}{% set y = i %}{% endif %}[{{ y }}]{% endfor %}{{ y }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d) = (3, 4) %}{{ c }}{{ d }}{% set e = 1, 2 %}{{ e }}{% set a, b = b, a %}{{ a }}{{ b }}
{% set a, b = [1] %}
{% set ns = namespace() %}{% set ns.x = 1 %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}
{% set ns = namespace(a=1) %}{% set ns.a, ns.b = 5, 6 %}{{ ns.a }}{{ ns.b }}
{% set d.x = 1 %}
{% set missing.x = 1 %}
{% set x %}  a {{ n }}¶{% endset %}[{{ x }}]{{ x | length }}
{% set x | upper | trim %} abc {% endset %}[{{ x }}]
{% set x = 'a' if false %}[{{ x }}]{{ x is defined }}
{% set x = none %}{{ x }}{{ x is none }}
{% set true = 1 %}
{% macro m(a, b=2, c='x') %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m() }}{{ m(b=1, a=0) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 'a', x=2) }}{{ m() }}
{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}
{% macro m(a, b) %}{{ b is defined }}{{ b }}{% endmacro %}{{ m(1) }}
{% macro m(a=1, b) %}{% endmacro %}
{% macro m() %}  x  {% endmacro %}[{{ m() }}][{{ m() | trim }}]{{ m() | length }}{{ m }}{{ m.name }}
{% macro m() %}{{ g }}{% endmacro %}{% set g = 5 %}{{ m() }}{% set g = 6 %}{{ m() }}
{% macro m() %}{% set g = 1 %}{{ g }}{% endmacro %}{% set g = 5 %}{{ m() }}{{ g }}
{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro outer() %}{% macro inner(x) %}<{{ x }}>{% endmacro %}{{ inner(1) }}{% endmacro %}{{ outer() }}{{ inner is defined }}
{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}
{% macro m(x) %}({{ caller() }}){{ x }}{% endmacro %}{% call m(1) %}body{{ n }}{% endcall %}
{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b=3) m() %}{{ a }}{{ b }}{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}
{% macro m() %}{{ caller is defined }}{{ caller }}{% endmacro %}{{ m() }}
{% macro m() %}{% for x in l %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(y) m() %}[{{ y }}{{ n }}]{% endcall %}
{{ m() }}{% macro m() %}{% endmacro %}
{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b') | trim %} a {% endfilter %}
{% filter indent(2) %}a¶b{% endfilter %}
{% filter length %}abc{% endfilter %}
{{ (html | safe) | list }}{% for c in '<a' | safe %}{{ [c] }}{% endfor %}{{ l | truncate(9) }}
{% with a=1, b=2 %}{{ a }}{{ b }}{% with a=b %}{{ a }}{% endwith %}{% endwith %}{{ a }}
{% print 1, 2 %}{% print n %}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.next() }}
{% set j = joiner('|') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}{% set k = joiner() %}{{ k() }}{{ k() }}
{% set g = l | map('string') %}{{ g | list }}{{ g | list }}
{% set g = l | select('odd') %}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}{% endfor %}
{% generation %}a{{ n }}{% endgeneration %}b
  {% generation %}¶a¶  {% endgeneration %}¶b
{% if true %}{{ 'x' | nofilter }}{% endif %}
{% if false %}{{ 'x' | nofilter }}{% endif %}ok
{{ ('x' | nofilter) if false else 'y' }}
{% if false %}{% for x in l %}{{ x | nofilter }}{% endfor %}{% endif %}
{% if false %}{{ x is notest }}{% endif %}ok
{% macro m() %}{{ x | nofilter }}{% endmacro %}
{{ 1
{{ 1 }
{% if t %}
{% endif %}
{% for x in l %}{% endif %}
{% foo %}
{{ }}
{{ 1 2 }}
{{ a..b }}
{{ 'a }}
{{ (1 }}
{{ 1) }}
{{ [1}} }}
{% set %}
{% set x = %}
{% set 1 = 2 %}
{% set 'a' = 2 %}
{% for x %}{% endfor %}
{% for x in %}{% endfor %}
{% for loop in l %}{% endfor %}
{% if %}{% endif %}
{{ 1 +}}
{{ * }}
{{ a.b.c }}
{{ not }}
{# open
{% raw %}open
{{ f(a=1, 2) }}
{{ f(**d, 1) }}
{{ range(*[1, 4]) | list }}{{ dict(**{'a': 1}) }}
{{ range(*[1], *[2]) }}
{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 1, 'b': 2}) }}{{ m(*[1], **{'b': 2}) }}{{ m(*'xy') }}
{{ '{%' }}{{ "%}" }}{{ '#}' }}{{ "{#" }}
{{ {'a': {'b': 1}}.a.b }}{{ {'a':{'b':1}} }}{{{'a':1}}}
{{- ' a ' -}} ¶ {{- ' b ' -}}
{%- for x in l -%} {{ x }} {%- endfor -%}
{% for x in l -%}¶  {{ x }}¶{%- endfor %}¶end
  {%- if t %}¶  yes¶  {%- endif %}¶
<|im_start|>{{ s }}<|im_end|>¶{% if t %}{{ '<|im_start|>assistant¶' }}{% endif %}
{{ "a\n" }}¶{{ 'b' }}¶
→{{ '→' }}→
{{ 'line1
line2' }}
{{ '%' }}{{ '{' }}{ { }}{% if t %} { % {% endif %}
a\r¶b
{% set x = [] %}{% set x = x + [1] %}{% set x = x + [2] %}{{ x }}
{% for m in users %}{% if loop.first and m.name == 'Bo' %}{% set first = m %}{% endif %}{{ first.name if first else '-' }}{% endfor %}
{% for m in users[1:] %}{{ m['name'] }}{% endfor %}{% for m in users[::-1] %}{{ m.name }}{{ loop.index0 }}{% endfor %}
{%- set loop_messages = users -%}{%- for m in loop_messages -%}{{ '<' + m['name'] + '>' + (m.age | string) }}{%- endfor -%}
{% for x in l %}{% set outer = loop %}{% for y in l %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
{% for i in range(3) %}{% for j in range(i) %}{{ i }}{{ j }},{% else %}-{% endfor %}{% endfor %}
{% if l %}{% if el %}a{% else %}b{% endif %}{% endif %}{% if users[0] and not users[0].off %}c{% endif %}
{% set x %}{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}{% endset %}{{ x }}
{% for i in l %}{% set x %}{{ i }}{% if i == 1 %}{% continue %}{% endif %}{% endset %}{{ x }}{% endfor %}
{% set x = 5 %}{% macro m() %}{{ x }}{% endmacro %}{% for x in [1, 2] %}{{ m() }}{% endfor %}
{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
{% set ns = namespace(f=none) %}{% macro m(x) %}<{{ x }}>{% endmacro %}{% set ns.f = m %}{{ ns.f(1) }}
{{ s[0] }}{{ s.0 }}{{ s|first|upper }}{{ s.upper()|lower }}{{ (s)|length }}{{ (s ~ s)|length }}
{{ [1,2,3]|length > 2 }}{{ 'a' in s|lower }}{{ not s|length == 3 }}{{ s|length + 1 }}{{ 2 * s|length }}
{{ n is defined and n is number and not n is string }}{{ n is not none and n > 3 }}
{{ 'yes' if n is defined and n else 'no' }}{{ ('a' if t else 'b') ~ 'c' }}{{ 'a' if t else 'b' ~ 'c' }}
{{ missing }}{{ missing.x is defined }}
{{ d.zzz.y is defined }}
{{ users | map(attribute='name') | map('lower') | join(', ') }}{{ users | map(attribute='age') | sum }}
""" 


def snippets():
    """Pairs of template and variables. In the list of templates, ¶ stands for a newline, \\r for a carriage return."""
    for line in EXPRESSIONS.strip().split("\n"):
        yield "{{ " + line + " }}", VARIABLES
    for line in TEMPLATES.strip("\n").split("\n"):
        if line:
            yield line.replace("¶", "\n").replace("\\r", "\r"), VARIABLES
